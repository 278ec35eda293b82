package child

import (
	"syscall"
	"unsafe"
)

// buffer is what Echo, Discard and Copy read into. Between fork and its end a
// child has one thread and runs one of them at a time, so one is enough; until
// the child touches it, it costs nothing.
var buffer [64 << 10]byte

// Echo is a handler for rawfork.Serve: it sends back what it reads from fd until
// the peer closes its side, or a read or write fails.
//
//go:nosplit
//go:norace
func Echo(fd int) { Copy(fd, fd) }

// Discard is a handler for rawfork.Serve: it reads from fd until the peer closes
// its side, or a read fails.
//
//go:nosplit
//go:norace
func Discard(fd int) {
	for {
		if n, _ := read(fd, unsafe.Pointer(&buffer), len(buffer)); n <= 0 {
			return
		}
	}
}

// Copy writes to dst what it reads from src until the end of src, and returns
// how many bytes were written.
//
//go:nosplit
//go:norace
func Copy(dst, src int) (written int64, errno syscall.Errno) {
	for {
		n, errno := read(src, unsafe.Pointer(&buffer), len(buffer))
		if n <= 0 {
			return written, errno
		}
		m, errno := write(dst, unsafe.Pointer(&buffer), n)
		written += int64(m)
		if errno != 0 {
			return written, errno
		}
	}
}
