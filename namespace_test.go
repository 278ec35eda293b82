//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/forktest"
	"rawfork/procstate"
)

// Each namespace that Cloneflags or Unshareflags ask for is a new one, and no other
// is. The time namespace, which clone(2) has no flag for, comes by clone3(2).
func TestForkExecNamespaces(t *testing.T) {
	needsRoot(t, "new namespaces need CAP_SYS_ADMIN")
	self, err := procstate.ReadParts(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, flag := range map[string]uintptr{
		"cgroup": syscall.CLONE_NEWCGROUP, "ipc": syscall.CLONE_NEWIPC, "mnt": syscall.CLONE_NEWNS,
		"net": syscall.CLONE_NEWNET, "pid": syscall.CLONE_NEWPID, "time": unix.CLONE_NEWTIME,
		"user": syscall.CLONE_NEWUSER, "uts": syscall.CLONE_NEWUTS,
	} {
		if self.Namespaces[name] == 0 {
			continue // this kernel has none
		}
		for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork} {
			for _, unshare := range []bool{false, true} {
				sys := &syscall.SysProcAttr{Cloneflags: flag}
				if unshare {
					sys = &syscall.SysProcAttr{Unshareflags: flag}
				}
				for have, inode := range startIn(t, m, sys).Namespaces {
					// By unshare(2) the pid namespace is that of the children to come.
					want := strings.TrimSuffix(have, "_for_children") == name && !(unshare && have == "pid")
					if got := inode != self.Namespaces[have]; got != want {
						t.Errorf("%s by %v, unshare %t: namespace %s is new: %t, want %t", name, m, unshare, have, got, want)
					}
				}
			}
		}
	}
}

// startIn returns the state of a program that was started with sys.
func startIn(t *testing.T, m rawfork.Method, sys *syscall.SysProcAttr) *procstate.State {
	t.Helper()
	r, w := pipe(t)
	pid, err := m.ForkExec(forktest.PauseProgram(t, 0), nil, &syscall.ProcAttr{Files: []uintptr{w.Fd()}, Sys: sys})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		syscall.Kill(pid, syscall.SIGKILL)
		forktest.WantSignal(t, pid, syscall.SIGKILL)
	}()
	r.SetReadDeadline(time.Now().Add(forktest.Watchdog))
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the program of %v isn't ready: %v", m, err)
	}
	state, err := procstate.ReadParts(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(w)
	return state
}
