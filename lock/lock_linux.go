//go:build amd64 || arm64

package lock

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/child"
)

// Flock wraps flock(2): how is LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB for an
// EWOULDBLOCK instead of a wait. The lock belongs to fd's open file description. It
// may be called in the child. In a Go parent a wait keeps a thread.
//
//go:nosplit
//go:norace
func Flock(fd, how int) syscall.Errno {
	for {
		_, errno := child.Syscall(unix.SYS_FLOCK, uintptr(fd), uintptr(how), 0, 0, 0, 0)
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// OFD locks all of a file by fcntl(2) with F_OFD_SETLKW, or, when wait is false,
// F_OFD_SETLK, which gives EAGAIN where there would be a wait. kind is F_RDLCK,
// F_WRLCK (for which fd must be open for reading or writing) or F_UNLCK. The lock
// belongs to fd's open file description. It may be called in the child. In a Go parent
// a wait keeps a thread.
//
//go:nosplit
//go:norace
func OFD(fd int, kind int16, wait bool) syscall.Errno {
	command := unix.F_OFD_SETLK
	if wait {
		command = unix.F_OFD_SETLKW
	}
	return record(fd, command, kind)
}

// record makes a system call on the lock of a whole file.
//
//go:nosplit
//go:norace
func record(fd, command int, kind int16) syscall.Errno {
	whole := unix.Flock_t{Type: kind}
	for {
		_, errno := child.Syscall(unix.SYS_FCNTL, uintptr(fd), uintptr(command), uintptr(unsafe.Pointer(&whole)), 0, 0, 0)
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// Reopen opens the file that fd refers to once more, for reading and writing: the
// descriptor that it returns is of an open file description of its own, close-on-exec
// and the caller's to close. A forked child needs one to lock against its parent by
// [Flock] or [OFD]. The path is made by [PrepareReopen]. It may be called in the child.
//
//go:nosplit
//go:norace
func Reopen(path *byte) (fd int, errno syscall.Errno) {
	r, errno := child.Syscall(unix.SYS_OPENAT, unix.AT_FDCWD&(1<<64-1), uintptr(unsafe.Pointer(path)),
		unix.O_RDWR|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), 0
}

// PrepareReopen makes the path for [Reopen]: /proc/self/fd/N. It allocates and belongs
// before the fork.
func PrepareReopen(fd int) *byte {
	path, _ := child.PrepareString(fmt.Sprintf("/proc/self/fd/%d", fd)) // has no NUL byte
	return path
}

// Mutex is a mutual exclusion between processes, with memory that they share. The
// parent makes it before the fork. In each process it works for itself.
type Mutex struct {
	file  *os.File // a memfd: owner, then data
	fd    int
	local sync.Mutex // between the goroutines of this process
	mem   []byte
	owner *int32 // 0, or the pid of the holder
}

const ownerSize = 64 // a cache line for the owner

// NewMutex makes a Mutex with size bytes of shared memory, which are 0, to be closed by
// [Mutex.Close]. EINVAL says that size is negative.
func NewMutex(size int) (*Mutex, error) {
	if size < 0 {
		return nil, fmt.Errorf("mutex: %d bytes: %w", size, syscall.EINVAL)
	}
	fd, err := unix.MemfdCreate("rawfork mutex", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mutex: %w", os.NewSyscallError("memfd_create", err))
	}
	m := &Mutex{file: os.NewFile(uintptr(fd), "rawfork mutex"), fd: fd}
	if err := m.file.Truncate(int64(ownerSize + size)); err != nil {
		m.file.Close()
		return nil, fmt.Errorf("mutex: %w", err)
	}
	m.mem, err = unix.Mmap(fd, 0, ownerSize+size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		m.file.Close()
		return nil, fmt.Errorf("mutex: %w", os.NewSyscallError("mmap", err))
	}
	m.owner = (*int32)(unsafe.Pointer(&m.mem[0]))
	return m, nil
}

// FD is the Mutex's descriptor. A child keeps it, by child.KeepOnly, or can't lock. It
// stays the Mutex's. Who closes another descriptor of the same file, a duplicate for
// one, gives up the lock of the whole process, held or not: see fcntl(2).
func (m *Mutex) FD() int { return m.fd }

// Data is the memory that the Mutex guards, the same in all processes.
func (m *Mutex) Data() []byte { return m.mem[ownerSize:] }

// Close gives up the Mutex in this process. Nobody may use its Data any more. Others
// that have forked keep theirs.
func (m *Mutex) Close() error {
	if err := unix.Munmap(m.mem); err != nil {
		return fmt.Errorf("mutex: %w", os.NewSyscallError("munmap", err))
	}
	return m.file.Close()
}

// Lock waits for the mutex and takes it, for one goroutine of one process. died tells
// that the holder before ended without an Unlock: Data may be half changed. EDEADLK
// says that the kernel has found a circle of processes that wait for each other.
//
// Precondition: not in the child; there it is [Mutex.LockInChild]. Any goroutine may
// unlock. A wait keeps a thread.
func (m *Mutex) Lock() (died bool, err error) {
	m.local.Lock()
	died, errno := m.take(unix.F_SETLKW)
	return m.taken(died, errno)
}

// TryLock is Lock without a wait: EAGAIN says that somebody has the mutex.
func (m *Mutex) TryLock() (died bool, err error) {
	if !m.local.TryLock() {
		return false, fmt.Errorf("mutex: %w", syscall.EAGAIN)
	}
	died, errno := m.take(unix.F_SETLK)
	return m.taken(died, errno)
}

func (m *Mutex) taken(died bool, errno syscall.Errno) (bool, error) {
	if errno != 0 {
		m.local.Unlock()
		return false, fmt.Errorf("mutex: fcntl: %w", errno)
	}
	return died, nil
}

// Unlock gives the mutex back. Who hasn't got it must not call it.
func (m *Mutex) Unlock() error {
	errno := m.UnlockInChild()
	m.local.Unlock()
	if errno != 0 {
		return fmt.Errorf("mutex: fcntl: %w", errno)
	}
	return nil
}

// LockInChild is [Mutex.Lock] for a child of rawfork.Fork, which has one thread.
//
//go:nosplit
//go:norace
func (m *Mutex) LockInChild() (died bool, errno syscall.Errno) { return m.take(unix.F_SETLKW) }

// UnlockInChild is [Mutex.Unlock] for a child of rawfork.Fork.
//
//go:nosplit
//go:norace
func (m *Mutex) UnlockInChild() syscall.Errno {
	*m.owner = 0
	return record(m.fd, unix.F_SETLK, unix.F_UNLCK)
}

// take takes the record lock. The system call orders memory: what the holder before
// wrote is seen.
//
//go:nosplit
//go:norace
func (m *Mutex) take(command int) (died bool, errno syscall.Errno) {
	if errno := record(m.fd, command, unix.F_WRLCK); errno != 0 {
		if errno == syscall.EACCES { // which fcntl(2) may say instead
			errno = syscall.EAGAIN
		}
		return false, errno
	}
	died = *m.owner != 0
	*m.owner = int32(child.Getpid())
	return died, 0
}
