//go:build linux

// Package turn lets a parent and its child wait for each other, so that an
// example shows things in their order without sleeping.
package turn

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork/child"
)

// Pair is a pair of connected sockets, made before the fork.
type Pair struct{ parent, child int }

// New makes a pair. Of its two descriptors each process closes one, by
// [Pair.Parent] or [Pair.Child], so that neither waits for an end that is its
// own.
func New() (Pair, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Pair{}, os.NewSyscallError("socketpair", err)
	}
	return Pair{fds[0], fds[1]}, nil
}

// Parent is the parent's side.
type Parent struct{ file *os.File }

// Parent makes this process the pair's parent, who closes the side at its end.
func (p Pair) Parent() Parent {
	unix.Close(p.child)
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

// AwaitEnd waits in the parent until the child pid has ended, and doesn't reap
// it: the child stays a zombie.
func AwaitEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("waitid", err)
		}
	}
}
