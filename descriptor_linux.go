package rawfork

import "golang.org/x/sys/unix"

// checkOpen returns EBADF when fd is not an open descriptor.
func checkOpen(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err
}
