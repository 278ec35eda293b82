package rawfork

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkOpen returns EBADF when fd is not an open descriptor.
func checkOpen(fd int) error {
	if fd < 0 || fd > math.MaxInt32 {
		return syscall.EBADF // the kernel would take the low half for another one
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err
}
