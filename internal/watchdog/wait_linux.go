package watchdog

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
)

// grace is how much longer a child may take that is seen running: on a loaded
// machine it may be slow.
const grace = 4 * time.Second

// Wait reaps the child pid and returns its status. A child that has not ended
// within the limit, or when ctx is done, is killed; hung then holds what [State]
// said of it before. It is empty for a child that ended by itself, and err is
// ctx's for one that ctx ended. A child that runs, or waits for a processor, when
// the limit is over gets the grace. With a child that leads a process group the
// group is killed.
func Wait(ctx context.Context, pid int, limit time.Duration) (status syscall.WaitStatus, hung string, err error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	self := os.Getpid()
	bitten, ended := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(limited, func() {
		defer close(bitten)
		if os.Getpid() != self {
			return // in a child of a plain fork, which runs its parent's timers too
		}
		if !bite(ctx, pid, ended) {
			return
		}
		hung = State(pid)
		syscall.Kill(-pid, syscall.SIGKILL) // ESRCH if it leads none
		syscall.Kill(pid, syscall.SIGKILL)
	})
	// Peek, don't reap: a pid that was reaped may be another process's by the
	// time that the dog bites.
	err = peek(pid, 0)
	close(ended)
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

// bite waits while the process runs, up to the grace, and tells whether it is to be
// killed then.
func bite(ctx context.Context, pid int, ended <-chan struct{}) bool {
	over := time.After(grace)
	for running(pid) {
		select {
		case <-ended:
			return false
		case <-ctx.Done():
			return true
		case <-over:
			return true
		case <-time.After(grace / 20): // look again
		}
	}
	return true
}

// running tells whether the process is on a processor, or ready for one.
func running(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return bytes.HasPrefix(stat[1+bytes.LastIndexByte(stat, ')'):], []byte(" R"))
}

// peek waits until the child pid has ended, or not with WNOHANG, and leaves it to be
// reaped.
func peek(pid, options int) error {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, options|unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("waitid", err)
		}
	}
}
