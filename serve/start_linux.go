//go:build cgo && (amd64 || arm64)

package serve

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// setupFailed is the status of a child that couldn't close what it must not keep.
const setupFailed = 126

func (h forkHandler) start(conn net.Conn, options childOptions) (pid int, err error) {
	err = rawfork.WithFD(conn, func(fd int) (err error) {
		pid, err = forkAndHandle(fd, h, options.endWithParent, os.Getpid())
		return err
	})
	return pid, err
}

// forkAndHandle is rawfork.Serve with a beginning of our own: a group of its own, so
// that Ctrl-C on the server's terminal is the server's to decide on.
//
//go:norace
func forkAndHandle(fd int, handler func(fd int), endWithParent bool, parent int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		child.Setpgid(0, 0)
		if endWithParent {
			diesWith(parent)
		}
		if child.KeepOnly(0, 1, 2, fd) != 0 {
			child.Exit(setupFailed)
		}
		handler(fd)
		child.Exit(0)
	}
	return pid, err
}

// diesWith has the kernel kill this child when the thread that forked it ends. A
// parent that was gone before has sent no signal.
//
//go:nosplit
//go:norace
func diesWith(parent int) {
	child.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	if child.Getppid() != parent {
		child.Exit(setupFailed)
	}
}

func (p *Program) start(path string, argv []string, conn net.Conn, options childOptions) (pid int, err error) {
	err = rawfork.WithFD(conn, func(fd int) (err error) {
		// Programs expect to wait in read(2). The flag belongs to the open file
		// description, of which the server's descriptor is used no more.
		if err := unix.SetNonblock(fd, false); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		attr := &syscall.ProcAttr{
			Dir:   p.Dir,
			Env:   p.env(conn.RemoteAddr()),
			Files: []uintptr{uintptr(fd), uintptr(fd), 2},
			Sys:   &syscall.SysProcAttr{Setpgid: true},
		}
		if p.Stderr {
			attr.Files[2] = uintptr(fd)
		}
		if options.endWithParent {
			attr.Sys.Pdeathsig = syscall.SIGKILL
		}
		pid, err = p.Method.ForkExec(path, argv, attr)
		return err
	})
	return pid, err
}

func (h *goHandler) start(conn net.Conn, _ childOptions) (pid int, err error) {
	holder, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return 0, fmt.Errorf("descriptor of %T: %w", conn, errNoFile)
	}
	file, err := holder.File()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	process, err := h.helper.Go(h.name, file)
	if err != nil {
		return 0, err
	}
	defer process.Release() // the Reaper waits for it
	// It hasn't executed anything: a child of the helper is a fork of this image.
	syscall.Setpgid(process.Pid, process.Pid)
	return process.Pid, nil
}
