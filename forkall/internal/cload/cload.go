//go:build linux && cgo

package cload

// #cgo CFLAGS: -Wall -Wextra -Werror
// #cgo LDFLAGS: -pthread -ldl
// #include <stdlib.h>
// #include "cload.h"
import "C"

import (
	"errors"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Malloc allocates and frees n blocks.
func Malloc(n int) { C.cload_malloc(C.int(n)) }

// Sleep sleeps in C.
func Sleep(d time.Duration) { C.cload_sleep(C.int(d.Microseconds())) }

// Open opens a library and closes it.
func Open() error {
	if C.cload_open() != 0 {
		return errors.New("dlopen libm.so.6: failed")
	}
	return nil
}

// Thread makes a thread that C and not Go knows, and waits for its end.
func Thread() error { return errno(C.cload_thread()) }

// Masked makes such a thread that blocks all signals and works for ever. The
// counter grows each time round; it is never freed.
func Masked() (*atomic.Int64, error) {
	progress := (*C.int64_t)(C.calloc(1, C.sizeof_int64_t))
	return (*atomic.Int64)(unsafe.Pointer(progress)), errno(C.cload_masked(progress))
}

// Vfork makes a child by vfork(2) that lives until it has read a byte from end, and
// writes one to ready before. The calling thread can't be interrupted meanwhile.
func Vfork(ready, end int) error { return errno(C.cload_vfork(C.int(ready), C.int(end))) }

// Decoy gives the calling thread, in its TLS, what looks like a g of Go's whose m has
// the thread's id so many times.
func Decoy(ids int) { C.cload_decoy(C.int(ids)) }

// Rseq registers glibc's restartable sequences for the calling thread once more: EBUSY
// says that they are, ENOSYS that glibc has none.
func Rseq() error { return errno(C.cload_rseq()) }

func errno(e C.int) error {
	if e == 0 {
		return nil
	}
	return syscall.Errno(e)
}
