//go:build cgo && (amd64 || arm64)

package serve

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// setupFailed is the status of a child that couldn't close what it must not keep.
const setupFailed = 126

func (h forkHandler) start(fd int, _ *peer, options childOptions) (pid int, err error) {
	return forkAndHandle(fd, h, options.endWithParent, options.parent)
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

func (p *Program) start(path string, argv []string, fd int, from *peer, options childOptions) (pid int, err error) {
	attr := &syscall.ProcAttr{
		Dir:   p.Dir,
		Env:   p.env(from.addr()),
		Files: []uintptr{uintptr(fd), uintptr(fd), 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}
	if p.Stderr {
		attr.Files[2] = uintptr(fd)
	}
	if options.endWithParent {
		attr.Sys.Pdeathsig = syscall.SIGKILL
	}
	return p.Method.ForkExec(path, argv, attr)
}

func (h *goHandler) start(fd int, _ *peer, _ childOptions) (pid int, err error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(own), "connection")
	defer file.Close()
	process, err := h.helper.Go(h.name, file)
	if err != nil {
		return 0, err
	}
	defer process.Release() // the loop waits for it
	// It hasn't executed anything: a child of the helper is a fork of this image.
	syscall.Setpgid(process.Pid, process.Pid)
	return process.Pid, nil
}
