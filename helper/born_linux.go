//go:build cgo && (amd64 || arm64)

package helper

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapBorn makes the memory in which the helper says what child it has made, and a
// descriptor by which the helper gets it. Both are the caller's to give back. No child
// of Fork has the memory.
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

// lastBorn tells for which request the helper has made a child last, once it has
// ended. pid is -1 if it hadn't made that yet.
func lastBorn(memory []byte) (id uint64, pid int) {
	last := (*born)(unsafe.Pointer(unsafe.SliceData(memory)))
	return uint64(last.id), int(last.pid)
}
