package rawfork

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkOpen returns EBADF when fd is not an open descriptor.
//
// It is a raw system call, since a server makes it before each fork: one that the
// runtime is told of wakes its monitor thread, and whatever that one writes to,
// just after a fork, is copied page by page.
func checkOpen(fd int) error {
	if fd < 0 || fd > math.MaxInt32 {
		return syscall.EBADF // the kernel would take the low half for another one
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFD, 0); errno != 0 {
		return errno
	}
	return nil
}
