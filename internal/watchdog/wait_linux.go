package watchdog

import (
	"context"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
)

// Wait reaps the child pid and returns its status. A child that has not ended
// within the limit, or when ctx is done, is killed; hung then holds what [State]
// said of it before. It is empty for a child that ended by itself, and err is
// ctx's for one that ctx ended.
func Wait(ctx context.Context, pid int, limit time.Duration) (status syscall.WaitStatus, hung string, err error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	bitten := make(chan struct{})
	stop := context.AfterFunc(limited, func() {
		defer close(bitten)
		hung = State(pid)
		syscall.Kill(pid, syscall.SIGKILL)
	})
	// Peek, don't reap: a pid that was reaped may be another process's by the
	// time that the dog bites.
	err = peek(pid)
	if !stop() {
		<-bitten
	}
	if err != nil {
		return 0, "", err
	}
	status, err = rawfork.Wait(pid)
	if err != nil || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return status, "", err // it ended just before the bite, if there was one
	}
	return status, hung, ctx.Err()
}

// peek waits until pid has ended and leaves it to be reaped.
func peek(pid int) error {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("waitid", err)
		}
	}
}
