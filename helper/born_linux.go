//go:build cgo && (amd64 || arm64)

package helper

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapBorn makes the memory in which the helper and the kernel say which child was made
// last, and what has become of a request for a program (struct rf_born), and a descriptor
// by which the helper gets it. Both are the caller's to give back. No child of Fork has
// the memory.
func mapBorn() (memory []byte, fd int, err error) {
	fd, err = unix.MemfdCreate(title, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, -1, fmt.Errorf("memfd_create: %w", err)
	}
	if err = unix.Ftruncate(fd, int64(unsafe.Sizeof(born{}))); err == nil {
		memory, err = unix.Mmap(fd, 0, int(unsafe.Sizeof(born{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil {
		err = unix.Madvise(memory, unix.MADV_DONTFORK)
	}
	if err != nil {
		if memory != nil {
			unix.Munmap(memory)
		}
		unix.Close(fd)
		return nil, -1, fmt.Errorf("memory shared with the helper: %w", err)
	}
	return memory, fd, nil
}

// answers is that memory as what it holds.
func answers(memory []byte) *born {
	return (*born)(unsafe.Pointer(unsafe.SliceData(memory)))
}

// know notes that the helper has told of the child pid.
func (b *born) know(pid int) {
	atomic.CompareAndSwapInt32((*int32)(&b.made), int32(pid), 0)
}

// unknown is the pid of the child for Go that the helper has made and not told of, or 0.
func (b *born) unknown() int { return int(atomic.LoadInt32((*int32)(&b.made))) }

// expect says that a caller waits for the answer to the request of that id.
func (b *born) expect(id uint64) {
	atomic.StoreUint32((*uint32)(&b.waits), uint32(id))
}

// await waits until the answer to the request of that id is there, or until release.
func (b *born) await(id uint64) {
	waits := (*uint32)(&b.waits)
	for atomic.LoadUint32(waits) == uint32(id) {
		// Woken by the kernel, the helper or release. EINTR and EAGAIN are seen by the
		// number, which is looked at again.
		unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(waits)), futexWait, uintptr(uint32(id)), 0, 0, 0)
	}
}

// release ends the wait of a caller.
func (b *born) release() {
	waits := (*uint32)(&b.waits)
	atomic.StoreUint32(waits, 0)
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(waits)), futexWake, 1, 0, 0, 0)
}

// reply is the answer to the request of that id; ErrEnded when the helper had ended
// before, with the pid of the child if it had made that.
func (b *born) reply(id uint64, ended bool) reply {
	if uint64(b.id) != id {
		return noReply(ErrEnded)
	}
	r := noReply(nil)
	r.pid = int(b.pid)
	failure := b.started.failure
	switch {
	case failure.error != 0:
		r.step, r.err = int32(failure.step), syscall.Errno(failure.error)
	case ended:
		r.err = ErrEnded
	}
	return r
}

// Of linux/futex.h. The futex is not private: the kernel wakes for another process.
const (
	futexWait = 0
	futexWake = 1
)
