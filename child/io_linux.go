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

// ReadFull reads until b is full. n is below len(b) only at the end of the file
// or with an errno.
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

// Write wraps write(2): it writes all of b, in as many calls as that takes. n is
// below len(b) only with an errno. Writing to a pipe or socket that nobody reads
// any more kills the child by SIGPIPE: that signal's action is the default here.
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

// WriteInt writes v in decimal digits.
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
	for written < n {
		r, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd),
			uintptr(unsafe.Add(p, written)), uintptr(n-written))
		if errno == 0 {
			written += int(r)
		} else if errno = again(errno, fd, unix.POLLOUT); errno != 0 {
			return written, errno
		}
	}
	return written, 0
}

// Poll wraps poll(2) by ppoll(2): it waits until one of fds is ready, and
// returns how many are, or 0 after the timeout. A negative timeout waits for
// ever.
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
// says yes, at once after EINTR and when fd is ready for events after EAGAIN.
//
//go:nosplit
//go:norace
func again(errno syscall.Errno, fd int, events int16) syscall.Errno {
	switch errno {
	case syscall.EINTR:
		return 0
	case syscall.EAGAIN:
		ready := PollFd{Fd: int32(fd), Events: events}
		for {
			_, _, errno = syscall.RawSyscall6(unix.SYS_PPOLL,
				uintptr(unsafe.Pointer(&ready)), 1, 0, 0, 0, 0)
			if errno != syscall.EINTR {
				return errno
			}
		}
	}
	return errno
}
