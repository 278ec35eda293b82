package timing

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/program"
)

// Run starts the program by its method, with this process's descriptors 0, 1 and 2
// and environment, and waits for its end. A file whose format the kernel doesn't know
// is run by the shell, as execvp(3) has it. A program that couldn't be started is an
// error that wraps the errno; no child is left then.
func (p *Program) Run() (Run, error) {
	start := time.Now()
	pid, err := p.start(p.Path, p.Argv)
	if errors.Is(err, syscall.ENOEXEC) {
		var shellErr error
		if pid, shellErr = p.start("/bin/sh", append([]string{"sh", p.Path}, p.Argv[1:]...)); shellErr == nil {
			err = nil
		}
	}
	if err != nil {
		return Run{}, err
	}
	status, usage, err := wait(pid)
	if err != nil {
		return Run{}, err
	}
	return Run{
		Status: status,
		Wall:   time.Since(start),
		User:   time.Duration(usage.Utime.Nano()),
		System: time.Duration(usage.Stime.Nano()),
		Peak:   usage.Maxrss << 10, // the kernel counts in KiB
	}, nil
}

func (p *Program) start(path string, argv []string) (pid int, err error) {
	return p.By.ForkExec(path, argv, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
}

// wait is rawfork.Wait with the resources that the child used.
func wait(pid int) (status syscall.WaitStatus, usage syscall.Rusage, err error) {
	for {
		_, err := syscall.Wait4(pid, &status, 0, &usage)
		if err != syscall.EINTR {
			return status, usage, os.NewSyscallError("wait4", err)
		}
	}
}

// PeakFloor measures what a program's peak memory comes out as at least. The
// kernel counts in what the child held before the exec: its copy of this process, or
// the helper's or this process's own memory where the child borrows that. So a peak at about the
// floor only says that the program's own is not above.
//
//go:norace
func PeakFloor(by rawfork.Method) (int64, error) {
	if by == rawfork.ByHelper {
		return helperFloor()
	}
	if by != rawfork.ByFork {
		var usage syscall.Rusage
		err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
		return usage.Maxrss << 10, os.NewSyscallError("getrusage", err)
	}
	pid, err := rawfork.Fork()
	if pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		child.Exec(nil)
		child.Exit(0)
	}
	if err != nil {
		return 0, err
	}
	_, usage, err := wait(pid)
	return usage.Maxrss << 10, err
}

// helperFloor has the helper start a program that has next to no memory of its own.
func helperFloor() (int64, error) {
	path, err := program.Write(program.Exit())
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(filepath.Dir(path))
	pid, err := rawfork.ByHelper.ForkExec(path, []string{path}, nil)
	if err != nil {
		return 0, err
	}
	_, usage, err := wait(pid)
	return usage.Maxrss << 10, err
}

func signalName(sig syscall.Signal) string { return unix.SignalName(sig) }
