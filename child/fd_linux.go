package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Close wraps close(2). It is not called again after EINTR: on Linux the
// descriptor is gone by then.
//
//go:nosplit
//go:norace
func Close(fd int) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return errno
}

// CloseRange wraps close_range(2): it closes the descriptors first to last, both
// included, or with CLOSE_RANGE_CLOEXEC in flags marks them close-on-exec.
// ENOSYS says that the kernel is older than Linux 5.9.
//
//go:nosplit
//go:norace
func CloseRange(first, last, flags uint) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(first), uintptr(last), uintptr(flags))
	return errno
}

// KeepOnly closes every descriptor but those in fds, in any order, which may
// repeat and need not be open. A child that serves must do this: it holds all
// of the parent's descriptors, close-on-exec or not, and a connection ends only
// when everyone who holds it has closed it.
//
//go:nosplit
//go:norace
func KeepOnly(fds ...int) syscall.Errno {
	const last = int(^uint32(0)) // close_range takes unsigned ints
	first := 0
	for first <= last {
		next := last + 1 // the lowest of fds from first on
		for _, fd := range fds {
			if fd >= first && fd < next {
				next = fd
			}
		}
		if next > first {
			if errno := closeAll(first, next-1); errno != 0 {
				return errno
			}
		}
		first = next + 1
	}
	return 0
}

// closeAll closes first to last, one by one where close_range is missing.
//
//go:nosplit
//go:norace
func closeAll(first, last int) syscall.Errno {
	errno := CloseRange(uint(first), uint(last), 0)
	if errno != syscall.ENOSYS {
		return errno
	}
	// No descriptor is above the hard limit, unless the limit was lowered later.
	var limit unix.Rlimit
	_, _, errno = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, 0,
		uintptr(unsafe.Pointer(&limit)), 0, 0)
	if errno != 0 {
		return errno
	}
	for fd := first; fd <= last && uint64(fd) < limit.Max; fd++ {
		Close(fd)
	}
	return 0
}

// Dup3 wraps dup3(2): newfd becomes a copy of oldfd. flags is 0 or O_CLOEXEC.
// Unlike dup2(2) it refuses oldfd == newfd with EINVAL.
//
//go:nosplit
//go:norace
func Dup3(oldfd, newfd, flags int) syscall.Errno {
	for {
		_, _, errno := syscall.RawSyscall(unix.SYS_DUP3, uintptr(oldfd), uintptr(newfd), uintptr(flags))
		if errno != syscall.EINTR && errno != syscall.EBUSY {
			return errno
		}
	}
}

// SetNonblock sets or clears O_NONBLOCK by fcntl(2). The flag belongs to the
// open file description: every process that holds it sees the change.
//
//go:nosplit
//go:norace
func SetNonblock(fd int, nonblocking bool) syscall.Errno {
	flags, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	if errno != 0 {
		return errno
	}
	flags &^= unix.O_NONBLOCK
	if nonblocking {
		flags |= unix.O_NONBLOCK
	}
	_, _, errno = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, flags)
	return errno
}
