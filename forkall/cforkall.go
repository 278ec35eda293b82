//go:build linux && cgo && amd64

package forkall

// #cgo CFLAGS: -std=gnu11 -Wall -Wextra -Werror
// #cgo LDFLAGS: -ldl
// #include "forkall.h"
import "C"

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// This file only gives C names to Go: everything else in the package is free
// of import "C".

// cforkall is forkall_fork. The errno is 0 when there is a child; why says more
// about an errno, or is empty.
func cforkall(listener, stream, datagram int) (pid int, errno syscall.Errno, why string, stats Stats) {
	cut := C.struct_forkall_cut{listener: C.int(listener), stream: C.int(stream), datagram: C.int(datagram)}
	var text *C.char
	var s C.struct_forkall_stats
	r := int(C.forkall_fork(&cut, &text, &s))
	if r < 0 {
		return -1, syscall.Errno(-r), C.GoString(text), Stats{}
	}
	return r, 0, "", Stats{
		Hold:        time.Duration(s.hold),
		Read:        time.Duration(s.read),
		Copy:        time.Duration(s.copy),
		Stopped:     time.Duration(s.stopped),
		Threads:     int(s.threads),
		Descriptors: int(s.descriptors),
		Watched:     int(s.watched),
		Tries:       int(s.tries),
	}
}

// clook is forkall_look.
func clook() syscall.Errno {
	var why *C.char
	return syscall.Errno(-C.forkall_look(&why))
}

func generation() int {
	return int(atomic.LoadUint32((*uint32)(unsafe.Pointer(&C.forkall_generation))))
}
