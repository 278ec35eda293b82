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
