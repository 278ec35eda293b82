package child

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// clone wraps clone(2) without a new stack. The order of its last two arguments
// differs between architectures.
//
//go:nosplit
//go:norace
func clone(flags, childTID uintptr) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, childTID, 0)
	return result(r, errno)
}
