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
	return read(fd, unsafe.Pointer(unsafe.SliceData(b)), len(b))
}

// ReadFull reads until b is full. n is below len(b) only at the end of the file,
// with errno 0, or with an errno.
//
//go:nosplit
//go:norace
//go:nocheckptr
func ReadFull(fd int, b []byte) (n int, errno syscall.Errno) {
	for n < len(b) {
		r, errno := read(fd, unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), n), len(b)-n)
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
	return write(fd, unsafe.Pointer(unsafe.SliceData(b)), len(b))
}

// WriteString is [Write] for a string.
//
//go:nosplit
//go:norace
func WriteString(fd int, s string) (n int, errno syscall.Errno) {
	return write(fd, unsafe.Pointer(unsafe.StringData(s)), len(s))
}

// WriteInt writes v in decimal digits, as [Write] does.
//
//go:nosplit
//go:norace
func WriteInt(fd int, v int) (n int, errno syscall.Errno) {
	var line Line
	return line.Int(v).Write(fd)
}

// read and write take a pointer and a length, since cutting a slice brings in a
// bounds check, and with it a call of the runtime.

//go:nosplit
//go:norace
func read(fd int, p unsafe.Pointer, n int) (int, syscall.Errno) {
	for {
		r, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(p), uintptr(n))
		if errno == 0 {
			return int(r), 0
		}
		if errno = again(errno, fd, unix.POLLIN); errno != 0 {
			return -1, errno
		}
	}
}

//go:nosplit
//go:norace
//go:nocheckptr
func write(fd int, p unsafe.Pointer, n int) (written int, errno syscall.Errno) {
	for {
		r, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd),
			uintptr(unsafe.Add(p, written)), uintptr(n-written))
		switch {
		case errno != 0:
			if errno = again(errno, fd, unix.POLLOUT); errno != 0 {
				return written, errno
			}
		case int(r) == n-written:
			return n, 0
		case r == 0:
			return written, syscall.EIO // a driver that takes nothing: no endless loop
		default:
			written += int(r)
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

// again decides whether a call that failed with errno is to be made again: 0
// says yes, at once after EINTR, and after EAGAIN when fd is ready for events.
//
//go:nosplit
//go:norace
func again(errno syscall.Errno, fd int, events int16) syscall.Errno {
	switch errno {
	case syscall.EINTR:
		return 0
	case syscall.EAGAIN:
		return ready(fd, events)
	}
	return errno
}

// ready waits until fd is ready for events. EAGAIN says that fd is a blocking
// descriptor, so that the EAGAIN before was a socket's timeout.
//
//go:nosplit
//go:norace
func ready(fd int, events int16) syscall.Errno {
	flags, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	if errno != 0 {
		return errno
	}
	if flags&unix.O_NONBLOCK == 0 {
		return syscall.EAGAIN
	}
	wanted := PollFd{Fd: int32(fd), Events: events}
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL,
			uintptr(unsafe.Pointer(&wanted)), 1, 0, 0, 0, 0)
		if errno != syscall.EINTR {
			return errno
		}
	}
}
