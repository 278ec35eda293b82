package timing

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"rawfork"

	"rawfork/child"
)

// Run forks a child that execs the program, with this process's descriptors 0, 1
// and 2 and environment, and waits for its end. A program that could not be
// exec'd is an error that wraps the errno; the child is reaped in any case.
func (p *Program) Run() (Run, error) {
	// The write end is close-on-exec: it closes by a good exec, and brings the
	// errno of a failed one.
	failure, report, err := os.Pipe()
	if err != nil {
		return Run{}, err
	}
	defer failure.Close()
	fd := int(report.Fd())

	start := time.Now()
	pid, err := p.start(fd)
	report.Close()
	if err != nil {
		return Run{}, err
	}
	text, readErr := io.ReadAll(failure)
	status, usage, err := wait(pid)
	wall := time.Since(start)
	if err := errors.Join(readErr, err); err != nil {
		return Run{}, err
	}
	if len(text) > 0 {
		errno, err := strconv.Atoi(string(text))
		if err != nil {
			return Run{}, fmt.Errorf("exec %s: errno %q: %w", p.Path, text, err)
		}
		return Run{}, fmt.Errorf("exec %s: %w", p.Path, syscall.Errno(errno))
	}
	return Run{
		Status: status,
		Wall:   wall,
		User:   time.Duration(usage.Utime.Nano()),
		System: time.Duration(usage.Stime.Nano()),
		Peak:   usage.Maxrss << 10, // the kernel counts in KiB
	}, nil
}

// start is a function of its own because it returns in the parent only.
//
//go:norace
func (p *Program) start(report int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		errno := child.Exec(p.image)
		if errno == syscall.ENOEXEC && p.script != nil {
			errno = child.Exec(p.script)
		}
		child.WriteInt(report, int(errno))
		child.Exit(126)
	}
	return pid, err
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
// kernel counts in what the child held before the exec: its copy of this process.
// So a peak at about the floor only says that the program's own is not above.
//
//go:norace
func PeakFloor() (int64, error) {
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

func signalName(sig syscall.Signal) string { return unix.SignalName(sig) }
