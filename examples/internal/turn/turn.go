//go:build unix

// Package turn lets a parent and its child wait for each other, so that an
// example shows things in their order without sleeping.
package turn

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"rawfork/child"
)

// Pair is a pair of connected sockets, made before the fork.
type Pair struct{ parent, child int }

// New makes a pair. Of its two descriptors each process closes one, by
// [Pair.Parent] or [Pair.Child], so that neither waits for an end that is its
// own.
func New() (Pair, error) {
	// As syscall.ForkLock asks for: no other fork comes before both are close-on-exec.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return Pair{}, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	return Pair{fds[0], fds[1]}, nil
}

// Parent is the parent's side.
type Parent struct{ file *os.File }

// Parent makes this process the pair's parent, who closes the side at its end.
func (p Pair) Parent() Parent {
	syscall.Close(p.child)
	return Parent{os.NewFile(uintptr(p.parent), "child")}
}

// Close closes the side. The child's next Await ends the child.
func (p Parent) Close() error { return p.file.Close() }

// Tell lets the child go on from its Await.
func (p Parent) Tell() error {
	_, err := p.file.Write([]byte{0})
	return err
}

// Await waits for the child's Tell.
func (p Parent) Await() error {
	_, err := p.file.Read(make([]byte, 1))
	if err == io.EOF {
		return fmt.Errorf("the child ended early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// Child is the child's side. Its methods are for the child after the fork.
type Child int

// Child makes this process the pair's child.
//
//go:nosplit
//go:norace
func (p Pair) Child() Child {
	child.Close(p.parent)
	return Child(p.child)
}

// Tell lets the parent go on from its Await.
//
//go:nosplit
//go:norace
func (c Child) Tell() { child.WriteString(int(c), ".") }

// Await waits for the parent's Tell. Without a parent the child ends.
//
//go:nosplit
//go:norace
func (c Child) Await() {
	var b [1]byte
	if n, errno := child.Read(int(c), b[:]); n != 1 || errno != syscall.Errno(0) {
		child.Exit(1)
	}
}
