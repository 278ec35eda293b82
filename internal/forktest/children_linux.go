package forktest

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// becomeSubreaper makes orphans among the descendants children of this process.
func becomeSubreaper() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// HaveChild tells whether this process has a child, dead or alive.
func HaveChild() bool {
	// ECHILD says that there is none.
	return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
}

func kill(pid int) { syscall.Kill(pid, syscall.SIGKILL) }
