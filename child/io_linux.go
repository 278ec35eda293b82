//go:build amd64 || arm64

package child

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read wraps read(2): it reads up to len(b) bytes once. n is 0 at the end of the
// file or when the other end has closed, and -1 with an errno.
//
//go:nosplit
//go:norace
func Read(fd int, b []byte) (n int, errno syscall.Errno) {
	return call(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, unix.POLLIN)
}

// ReadFull reads until b is full. n is below len(b) only at the end of the file,
// with errno 0, or with an errno.
//
//go:nosplit
//go:norace
func ReadFull(fd int, b []byte) (n int, errno syscall.Errno) {
	p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for n < len(b) {
		r, errno := call(unix.SYS_READ, fd, p+uintptr(n), uintptr(len(b)-n), 0, unix.POLLIN)
		if errno != 0 {
			return n, errno
		}
		if r == 0 {
			break
		}
		n += r
	}
	return n, 0
}

// Write wraps write(2): it writes all of b, in as many calls as that takes, and
// in one call when b is empty. n is below len(b) only with an errno; EIO says
// that the kernel took nothing and gave no reason. Writing to a pipe or socket
// that nobody reads any more kills the child by SIGPIPE, whose action is the
// default here, unless the parent ignored it by signal.Ignore.
//
//go:nosplit
//go:norace
func Write(fd int, b []byte) (n int, errno syscall.Errno) {
	return write(fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

// WriteString is [Write] for a string.
//
//go:nosplit
//go:norace
func WriteString(fd int, s string) (n int, errno syscall.Errno) {
	return write(fd, uintptr(unsafe.Pointer(unsafe.StringData(s))), len(s))
}

// WriteInt writes v in decimal digits, as [Write] does.
//
//go:nosplit
//go:norace
func WriteInt(fd int, v int) (n int, errno syscall.Errno) {
	var text digits // and not a Line, for the sake of the stack
	at := decimal(&text, v)
	return write(fd, uintptr(unsafe.Pointer(&text))+uintptr(at), len(text)-at)
}

// write takes an address and a length, since cutting a slice brings in a bounds
// check, and with it a call of the runtime. An address as a number is safe where
// nothing moves: the callers are nosplit, so the stack doesn't.
//
//go:nosplit
//go:norace
func write(fd int, p uintptr, n int) (written int, errno syscall.Errno) {
	for {
		m, errno := call(unix.SYS_WRITE, fd, p+uintptr(written), uintptr(n-written), 0, unix.POLLOUT)
		if errno != 0 {
			return written, errno
		}
		if written += m; written == n {
			return n, 0
		}
		if m == 0 {
			return written, syscall.EIO // a driver that takes nothing: no endless loop
		}
	}
}

// Poll wraps poll(2), by ppoll(2): it waits until one of fds is ready, and
// returns how many are, or 0 after the timeout, or -1 with an errno. A negative
// timeout waits for ever, and 0 asks without waiting. What is ready is in the
// Revents fields.
//
//go:nosplit
//go:norace
func Poll(fds []PollFd, timeout time.Duration) (n int, errno syscall.Errno) {
	var left *unix.Timespec
	// The kernel writes what is left of the time over what was asked for.
	ts := unix.Timespec{Sec: int64(timeout / time.Second), Nsec: int64(timeout % time.Second)}
	if timeout >= 0 {
		left = &ts
	}
	for {
		r, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL,
			uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)),
			uintptr(unsafe.Pointer(left)), 0, 0, 0)
		if errno != syscall.EINTR {
			return result(r, errno)
		}
	}
}

// call makes a system call whose first argument is fd, and makes it again after
// EINTR, and after EAGAIN when fd is ready for events. An EAGAIN of a blocking
// descriptor was a socket's timeout, and is returned. A failed call gives -1.
//
// It is one function, and makes every call by RawSyscall6, to keep the chain of
// frames short: unoptimised, each takes 100 to 200 of the 800 bytes there are.
//
//go:nosplit
//go:norace
func call(trap uintptr, fd int, a2, a3, a4 uintptr, events int16) (int, syscall.Errno) {
	var wanted PollFd
	for {
		r, _, errno := syscall.RawSyscall6(trap, uintptr(fd), a2, a3, a4, 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno == syscall.EINTR {
			continue
		}
		if errno != syscall.EAGAIN {
			return -1, errno
		}
		r, _, errno = syscall.RawSyscall6(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0, 0, 0, 0)
		if errno != 0 || r&unix.O_NONBLOCK == 0 {
			return -1, syscall.EAGAIN
		}
		wanted.Fd, wanted.Events = int32(fd), events
		_, _, errno = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&wanted)), 1, 0, 0, 0, 0)
		if errno != 0 && errno != syscall.EINTR {
			return -1, errno
		}
	}
}
