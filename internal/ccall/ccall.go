//go:build linux && cgo

package ccall

// #cgo CFLAGS: -Wall -Wextra -Werror
// #cgo LDFLAGS: -pthread
// #include "ccall.h"
import "C"

import (
	"runtime/cgo"
	"syscall"
)

//export ccallGo
func ccallGo(handle C.uintptr_t) {
	cgo.Handle(handle).Value().(func())()
}

// Here calls f out of C, on this thread.
func Here(f func()) {
	handle := cgo.NewHandle(f)
	defer handle.Delete()
	C.ccall_here(C.uintptr_t(handle))
}

// Thread calls f out of C, on a thread that C made, and waits for it.
func Thread(f func()) error {
	handle := cgo.NewHandle(f)
	defer handle.Delete()
	if err := C.ccall_thread(C.uintptr_t(handle)); err != 0 {
		return syscall.Errno(err)
	}
	return nil
}

// Flush writes a byte to fd by libc's streams, and blocks with libc's lock on all
// of them held while fd can't take it.
func Flush(fd int) error {
	if err := C.ccall_flush(C.int(fd)); err != 0 {
		return syscall.Errno(err)
	}
	return nil
}

// FirstTID returns what libc takes for the id of the process's first thread, -1 where
// it doesn't tell.
func FirstTID() int { return int(C.ccall_first_tid()) }

// HasUnderscoreFork tells whether libc has _Fork(3).
func HasUnderscoreFork() bool { return C.ccall_has_underscore_fork() != 0 }
