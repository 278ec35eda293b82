//go:build amd64 || arm64

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
	_, _, errno := syscall.RawSyscall6(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0)
	return errno
}

// CloseRange wraps close_range(2): it closes the descriptors first to last, both
// included, or with CLOSE_RANGE_CLOEXEC in flags marks them close-on-exec.
// ENOSYS says that the kernel is older than Linux 5.9, EINVAL that first is above
// last or that one of the numbers has more than the 32 bits of the kernel's type.
//
//go:nosplit
//go:norace
func CloseRange(first, last, flags uint) syscall.Errno {
	if (first|last|flags)>>32 != 0 {
		return syscall.EINVAL // cut to 32 bits it would be other descriptors
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, uintptr(first), uintptr(last), uintptr(flags), 0, 0, 0)
	return errno
}

// KeepOnly closes every descriptor but those in fds, which may be in any order,
// may repeat, and need not be open: those that aren't are passed over. A child
// that serves must do this: it holds all of the parent's descriptors,
// close-on-exec or not, and a connection ends only when everyone who holds it has
// closed it.
//
// Where close_range(2) is missing, or forbidden by a sandbox, it takes the open
// descriptors from /proc/self/fd. Errors are those of opening and reading that:
// ENOENT without /proc, EMFILE when there is no number left for it to be opened
// at and none to be closed.
//
//go:nosplit
//go:norace
func KeepOnly(fds ...int) syscall.Errno {
	if closeBetween(fds) == 0 {
		return 0
	}
	dir, errno := openProcFD(fds)
	if errno != 0 {
		return errno
	}
	errno = closeListed(dir, fds)
	Close(dir)
	return errno
}

// closeBetween closes the ranges of numbers between those in fds.
//
//go:nosplit
//go:norace
func closeBetween(fds []int) syscall.Errno {
	const last = 1<<32 - 1 // of what close_range takes
	for first := 0; first <= last; {
		next := last + 1 // the lowest of fds from first on
		for _, fd := range fds {
			if fd >= first && fd < next {
				next = fd
			}
		}
		if next > first {
			if errno := CloseRange(uint(first), uint(next-1), 0); errno != 0 {
				return errno
			}
		}
		first = next + 1
	}
	return 0
}

// openProcFD opens the directory of this process's descriptors. Its number may
// be one of fds that wasn't open: it is closed in the end.
//
//go:nosplit
//go:norace
func openProcFD(fds []int) (dir int, errno syscall.Errno) {
	const path = "/proc/self/fd\x00"
	// At the limit on descriptors there is one to close among the first numbers:
	// all below the limit are open, and fds can't name every one of these.
	for fd := 0; ; fd++ {
		r, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, unix.AT_FDCWD&(1<<64-1),
			uintptr(unsafe.Pointer(unsafe.StringData(path))),
			unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, 0, 0)
		if errno != syscall.EMFILE || fd > len(fds) {
			return result(r, errno)
		}
		if !among(fds, fd) {
			Close(fd)
		}
	}
}

// closeListed closes the descriptors that the directory dir lists, but those in
// fds and dir itself. The kernel goes through the directory by number, so closing
// doesn't make it pass over any.
//
//go:nosplit
//go:norace
//go:nocheckptr
func closeListed(dir int, fds []int) syscall.Errno {
	const nameAt = unsafe.Offsetof(unix.Dirent{}.Name)
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_GETDENTS64, uintptr(dir),
			uintptr(unsafe.Pointer(&buffer)), unsafe.Sizeof(buffer), 0, 0, 0)
		if errno != 0 || n == 0 {
			return errno
		}
		for at := uintptr(0); at < n; {
			entry := unsafe.Add(unsafe.Pointer(&buffer), at)
			at += uintptr((*unix.Dirent)(entry).Reclen)
			fd := number(unsafe.Add(entry, nameAt))
			if fd >= 0 && fd != dir && !among(fds, fd) {
				Close(fd)
			}
		}
	}
}

// number reads the decimal number at p, which ends in a NUL byte. What is none,
// such as ".", gives -1.
//
//go:nosplit
//go:norace
//go:nocheckptr
func number(p unsafe.Pointer) int {
	for n := 0; ; p = unsafe.Add(p, 1) {
		switch c := *(*byte)(p); {
		case c >= '0' && c <= '9':
			n = n*10 + int(c-'0')
		case c == 0:
			return n
		default:
			return -1
		}
	}
}

// among tells whether fd is one of fds.
//
//go:nosplit
//go:norace
func among(fds []int, fd int) bool {
	for _, f := range fds {
		if f == fd {
			return true
		}
	}
	return false
}

// Dup3 wraps dup3(2): newfd becomes a copy of oldfd. flags is 0 or O_CLOEXEC.
// Unlike dup2(2) it refuses oldfd == newfd with EINVAL.
//
//go:nosplit
//go:norace
func Dup3(oldfd, newfd, flags int) syscall.Errno {
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_DUP3, uintptr(oldfd), uintptr(newfd), uintptr(flags), 0, 0, 0)
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
	flags, _, errno := syscall.RawSyscall6(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	flags &^= unix.O_NONBLOCK
	if nonblocking {
		flags |= unix.O_NONBLOCK
	}
	_, _, errno = syscall.RawSyscall6(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, flags, 0, 0, 0)
	return errno
}
