package forktest

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"rawfork"
	"rawfork/internal/watchdog"
)

// Watchdog is how long a child may take. It is far above what any child needs on
// a loaded machine: one that takes so long hangs.
const Watchdog = 2 * time.Minute

// Wait reaps the child pid and returns its status. When the child hangs, the
// watchdog prints its state from /proc, kills it, and the test fails.
func Wait(t testing.TB, pid int) syscall.WaitStatus {
	t.Helper()
	barked := make(chan string, 1)
	timer := time.AfterFunc(Watchdog, func() {
		barked <- watchdog.State(pid)
		kill(pid)
	})
	status, err := rawfork.Wait(pid)
	if !timer.Stop() {
		t.Fatalf("child %d hung for %v:\n%s", pid, Watchdog, <-barked)
	}
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// WantExit reaps the child pid and fails the test unless it exited with code.
func WantExit(t testing.TB, pid, code int) {
	t.Helper()
	if status := Wait(t, pid); !status.Exited() || status.ExitStatus() != code {
		t.Errorf("child %d: %s, want exit status %d", pid, Describe(status), code)
	}
}

// WantSignal reaps the child pid and fails the test unless sig ended it.
func WantSignal(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if status := Wait(t, pid); !status.Signaled() || status.Signal() != sig {
		t.Errorf("child %d: %s, want death by %v", pid, Describe(status), sig)
	}
}

// Describe puts a wait status into words.
func Describe(status syscall.WaitStatus) string {
	switch {
	case status.Exited():
		return fmt.Sprintf("exit status %d", status.ExitStatus())
	case status.Signaled():
		return fmt.Sprintf("killed by %v", status.Signal())
	case status.Stopped():
		return fmt.Sprintf("stopped by %v", status.StopSignal())
	}
	return fmt.Sprintf("wait status %#v", status)
}
