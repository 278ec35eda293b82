package watchdog

import (
	"context"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
)

// How long WaitInKernel looks neither at its context nor at the process: at first
// shortly, then longer and longer.
const (
	firstStep = 10 * time.Millisecond
	lastStep  = 250 * time.Millisecond
)

// WaitInKernel is [Wait] for a process that has children of a plain fork: it takes
// its time from poll(2), not from a timer of Go's. Such a child shares the eventfd
// that wakes the parent's poller, and may take a wake-up that was the parent's: from
// then on a timer of an idle parent may never fire.
//
// A process that can't go on by itself, since each of its threads waits for another of
// them, hangs without more ado: for that it need not wait until the limit.
func WaitInKernel(ctx context.Context, pid int, limit time.Duration) (status syscall.WaitStatus, hung string, err error) {
	ended, err := endsWithin(ctx, pid, limit)
	if err != nil {
		return 0, "", err
	}
	if !ended && running(pid) {
		if ended, err = endsWithin(ctx, pid, grace); err != nil {
			return 0, "", err
		}
	}
	if !ended {
		if err := peek(pid, unix.WNOHANG); err != nil {
			return 0, "", err // in a child of a plain fork, which may run its parent's goroutines too
		}
		hung = State(pid)
		syscall.Kill(-pid, syscall.SIGKILL) // ESRCH if it leads none
		syscall.Kill(pid, syscall.SIGKILL)
	}
	status, err = rawfork.Wait(pid)
	if err != nil || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return status, "", err // it ended just before it was killed, if it was
	}
	return status, hung, ctx.Err()
}

// endsWithin tells whether the child pid ends within the limit, and before ctx is
// done or the child deadlocked. It leaves it to be reaped.
func endsWithin(ctx context.Context, pid int, limit time.Duration) (bool, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	over := time.Now().Add(limit)
	step := firstStep
	for left := limit; left > 0 && ctx.Err() == nil && !deadlocked(pid); left = time.Until(over) {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(min(left, step).Milliseconds())+1)
		if err != nil && err != unix.EINTR {
			return false, os.NewSyscallError("poll", err)
		}
		if n > 0 {
			return true, nil
		}
		step = min(2*step, lastStep)
	}
	return false, nil
}
