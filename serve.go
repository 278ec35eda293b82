package rawfork

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"rawfork/child"
)

// setupFailed is the exit status of a child of Serve that couldn't close what
// it must not keep: the status that shells give for "found but can't be run".
const setupFailed = 126

// Serve forks a child that keeps the descriptors 0, 1, 2 and fd, closes all
// others, runs handler(fd) and exits with status 0. It returns the child's pid,
// to be waited for by [Wait].
//
// The handler runs under the child's rules (see [Fork]): it is a function of
// package child, such as [child.Echo], or the caller's own, marked go:nosplit
// (and go:norace, for programs built with -race). It has a declaration, since a
// function literal can't be marked. One that isn't marked dies at its first
// instruction, with its name in a traceback and exit status 2.
//
// Ownership: the parent's copy of fd stays the caller's, open and unchanged; a
// server closes it right after Serve, since a connection ends only when both
// processes have closed it. The child's copy ends with the child.
//
// Errors that are known before the fork are found before it: EINVAL for a nil
// handler, EBADF for a descriptor that isn't open. The others are those of Fork.
//
//go:norace
func Serve(fd int, handler func(fd int)) (pid int, err error) {
	if handler == nil {
		return -1, fmt.Errorf("serve fd %d: nil handler: %w", fd, syscall.EINVAL)
	}
	if err := checkOpen(fd); err != nil {
		return -1, fmt.Errorf("serve fd %d: %w", fd, err)
	}
	pid, err = Fork()
	if err != nil {
		return -1, fmt.Errorf("serve fd %d: %w", fd, err)
	}
	if pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		if child.KeepOnly(0, 1, 2, fd) != 0 {
			child.Exit(setupFailed)
		}
		handler(fd)
		child.Exit(0)
	}
	return pid, nil
}

// ServeConn is [Serve] for what the standard library holds a descriptor in: an
// *os.File, a net.Conn or a net.Listener. It makes no duplicate and leaves
// O_NONBLOCK, which parent and child share, as it is: the functions of package
// child wait by poll(2) where a raw read would say EAGAIN.
//
// Ownership: conn stays the caller's, who closes it, as with Serve. Errors are
// those of Serve and of [WithFD].
func ServeConn(conn io.Closer, handler func(fd int)) (pid int, err error) {
	err = WithFD(conn, func(fd int) (err error) {
		pid, err = Serve(fd, handler)
		return err
	})
	if err != nil {
		return -1, err
	}
	return pid, nil
}

// WithFD calls use with the descriptor that an *os.File, a net.Conn or a
// net.Listener holds, and returns what use returns. A type that holds none, or
// more than one (a TLS connection), gives [errors.ErrUnsupported]; a closed one
// gives [net.ErrClosed] or [os.ErrClosed], a nil use EINVAL.
//
// Unlike the File methods of package net, WithFD makes no duplicate, and unlike
// (*os.File).Fd it doesn't change O_NONBLOCK, which belongs to the open file
// description and so to every process that has it.
//
// Ownership: the descriptor stays with its holder. It is only valid until use
// returns; until then the holder's Close waits. A child that is forked inside
// use has a copy of its own.
func WithFD(holder io.Closer, use func(fd int) error) error {
	if use == nil {
		return fmt.Errorf("descriptor of %T: nil function: %w", holder, syscall.EINVAL)
	}
	conn, ok := holder.(syscall.Conn)
	if !ok {
		return fmt.Errorf("descriptor of %T: %w", holder, errors.ErrUnsupported)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("descriptor of %T: %w", holder, err)
	}
	var useErr error
	if err := raw.Control(func(fd uintptr) { useErr = use(int(fd)) }); err != nil {
		if _, ok := holder.(*os.File); ok {
			err = os.ErrClosed // which the error of a File's Control doesn't say
		}
		return fmt.Errorf("descriptor of %T: %w", holder, err)
	}
	return useErr
}
