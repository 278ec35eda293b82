//go:build linux && cgo

package cloop

// #cgo CFLAGS: -Wall -Wextra -Werror -O2
// #include <stdlib.h>
// #include "cloop.h"
import "C"

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// Fork forks n children that end at once, one after the other, and returns how
// long each took until it was waited for.
func Fork(n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	if errno := C.cloop_fork(C.int(n), (*C.longlong)(unsafe.Pointer(unsafe.SliceData(took)))); errno != 0 {
		return nil, fmt.Errorf("fork in C: %w", syscall.Errno(errno))
	}
	return took, nil
}

// Call forks as Fork does, and returns how long each call of fork itself took.
func Call(n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	if errno := C.cloop_call(C.int(n), (*C.longlong)(unsafe.Pointer(unsafe.SliceData(took)))); errno != 0 {
		return nil, fmt.Errorf("fork in C: %w", syscall.Errno(errno))
	}
	return took, nil
}

// Way is a way to start a program.
type Way C.enum_cloop_way

// By fork, by vfork and by posix_spawn of libc.
const (
	ByFork  Way = C.CLOOP_FORK
	ByVfork Way = C.CLOOP_VFORK
	BySpawn Way = C.CLOOP_SPAWN
)

// Exec starts the program at path n times, one after the other, and returns how long
// each took until it was waited for.
func Exec(path string, way Way, n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	errno := C.cloop_exec(text, uint32(way), C.int(n), (*C.longlong)(unsafe.Pointer(unsafe.SliceData(took))))
	if errno != 0 {
		return nil, fmt.Errorf("exec of %s in C: %w", path, syscall.Errno(errno))
	}
	return took, nil
}

// Ask has the fork server at the other end of sock start its program n times, and returns
// how long each took until it was waited for.
func Ask(sock, n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	if errno := C.cloop_ask(C.int(sock), C.int(n), (*C.longlong)(unsafe.Pointer(unsafe.SliceData(took)))); errno != 0 {
		return nil, fmt.Errorf("request to a fork server in C: %w", syscall.Errno(errno))
	}
	return took, nil
}

// Held is what one turn of Hold took.
type Held struct {
	Forked time.Duration // a call of fork alone
	Held   time.Duration // until all threads slept in a handler
	Called time.Duration // until all were told to go on, a fork between
}

// Hold has n threads of C enter a signal handler, forks, and wakes them up; the child
// makes as many threads: what package forkall can't do without, in C alone.
func Hold(n, rounds int) ([]Held, error) {
	took := make([]C.struct_cloop_hold, rounds)
	if errno := C.cloop_hold(C.int(n), C.int(rounds), unsafe.SliceData(took)); errno != 0 {
		return nil, fmt.Errorf("threads held in C: %w", syscall.Errno(errno))
	}
	held := make([]Held, rounds)
	for i, t := range took {
		held[i] = Held{time.Duration(t.forked), time.Duration(t.held), time.Duration(t.called)}
	}
	return held, nil
}
