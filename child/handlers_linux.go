//go:build amd64 || arm64

package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// buffer is what Echo, Discard and Copy read into, and KeepOnly its directory.
// A child has one thread and runs one of them at a time, so one is enough; until
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
		n, _ := call(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&buffer)), unsafe.Sizeof(buffer), 0, unix.POLLIN)
		if n <= 0 {
			return
		}
	}
}

// Copy writes to dst what it reads from src until the end of src, and returns
// how many bytes were written and the errno that ended it, or 0 at the end.
//
//go:nosplit
//go:norace
func Copy(dst, src int) (written int64, errno syscall.Errno) {
	p := uintptr(unsafe.Pointer(&buffer))
	for {
		n, errno := call(unix.SYS_READ, src, p, unsafe.Sizeof(buffer), 0, unix.POLLIN)
		if n <= 0 {
			return written, errno
		}
		n, errno = write(dst, p, n)
		written += int64(n)
		if errno != 0 {
			return written, errno
		}
	}
}
