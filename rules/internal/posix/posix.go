//go:build linux && cgo

package posix

// #cgo CFLAGS: -Wall -Wextra -Werror
// #include <stdlib.h>
// #include "posix.h"
import "C"

import (
	"io"
	"syscall"
	"unsafe"
)

// AtFork calls f and returns the calls of atfork handlers meanwhile.
func AtFork(f func() error) (string, error) {
	if err := errno(C.posix_atfork_begin()); err != nil {
		return "", err
	}
	err := f()
	log := make([]byte, 64)
	C.posix_atfork_end((*C.char)(unsafe.Pointer(&log[0])), C.size_t(len(log)))
	return C.GoString((*C.char)(unsafe.Pointer(&log[0]))), err
}

// Fork forks by fork().
func Fork() error { return errno(C.posix_fork(C.BY_FORK)) }

// UFork forks by _Fork().
func UFork() error { return errno(C.posix_fork(C.BY_UFORK)) }

// Exit tells how often a function of atexit runs in a child.
func Exit(byExit bool) (int, error) {
	var ran C.int
	err := errno(C.posix_exit(number(byExit), &ran))
	return int(ran), err
}

// Stream writes a line by a stream, from which a child may have a copy flushed.
func Stream(fd int, childFlushes bool) error {
	return errno(C.posix_stream(C.int(fd), number(childFlushes)))
}

// Directory tells how many names child and parent read after one was read.
func Directory(path string) (inChild, inParent int, err error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var c, p C.int
	err = errno(C.posix_directory(name, &c, &p))
	return int(c), int(p), err
}

// Thread tells whether a child has its thread's memory and name.
func Thread() (bool, error) {
	var kept C.int
	err := errno(C.posix_thread(&kept))
	return kept != 0, err
}

// How Malloc forks.
const (
	ByFork  = C.BY_FORK
	ByUFork = C.BY_UFORK
	ByClone = C.BY_CLONE
)

// Malloc forks a child that allocates memory, or doesn't, while another thread is busy
// allocating, and exits with the status. It returns the child's pid.
func Malloc(how int, allocate bool, status int) (int, error) {
	pid := C.posix_malloc(C.int(how), number(allocate), C.int(status))
	return int(pid), errno(pid)
}

// Cloned is what a process that called clone(2) sees of it: see posix.h.
type Cloned struct {
	Memory, Mapping, Handler, Mask bool
	SamePid, SameTid               bool
	Parent                         Relation
	Wait                           syscall.Errno
	Cleared, Held                  bool
}

// A Relation is whose child a process is.
type Relation int

// Relations to the process that called clone(2).
const (
	Stranger Relation = iota
	Child
	Sibling
)

// String names the relation.
func (r Relation) String() string { return [...]string{"a stranger", "its child", "its sibling"}[r] }

// Clone has a process of one thread call clone(2) with the flags, and returns its pid.
// The new process writes a byte to out, and waits for a byte or the end of in. When it
// has ended the first one writes to out what [ReadCloned] reads, and ends, with an errno
// as its exit status if something failed. The caller reaps it.
func Clone(flags uintptr, in, out int) (int, error) {
	pid := C.posix_clone(C.ulong(flags), C.int(in), C.int(out))
	return int(pid), errno(pid)
}

// ReadCloned reads what the first process of Clone writes.
func ReadCloned(r io.Reader) (Cloned, error) {
	var c C.struct_posix_cloned
	_, err := io.ReadFull(r, unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c)))
	return Cloned{
		Memory: c.memory != 0, Mapping: c.mapping != 0, Handler: c.handler != 0, Mask: c.mask != 0,
		SamePid: c.same_pid != 0, SameTid: c.same_tid != 0, Parent: Relation(c.parent),
		Wait: syscall.Errno(c.wait), Cleared: c.cleared != 0, Held: c.held != 0,
	}, err
}

func number(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func errno(r C.int) error {
	if r < 0 {
		return syscall.Errno(-r)
	}
	return nil
}
