//go:build unix && !cgo

package load

import "syscall"

// block blocks in a system call until the descriptor's other end is closed.
func block(fd int) {
	var b [1]byte
	for {
		n, err := syscall.Read(fd, b[:])
		if n <= 0 && err != syscall.EINTR {
			return
		}
	}
}
