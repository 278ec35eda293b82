//go:build cgo && (amd64 || arm64)

package reap_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/internal/rawcall"
	"rawfork/reap"
)

var helpers = map[string]func(){
	"orphans": orphans,
	"nofiles": noFiles,
}

// The orphans are made and taken in a process of its own, that has no child but
// those that the test is about.
func TestOrphans(t *testing.T) {
	if out, err := forktest.Command(t, "orphans").CombinedOutput(); err != nil || string(out) != "ok" {
		t.Errorf("%v: %s", err, out)
	}
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// orphans takes n orphans while the children of everybody else on the same thread,
// where orphans go too, are left alone.
func orphans() {
	runtime.LockOSThread() // the main thread, since forktest's TestMain runs there
	const n = 20
	exits := make(chan reap.Exit, 10*n)
	r, err := reap.New(reap.Options{Orphans: true, OnExit: func(e reap.Exit) { exits <- e }})
	check(err)

	// Children of this very thread that nobody may take: os/exec's, one that is
	// waited for late, and one with a pidfd.
	cmd := exec.Command("/bin/sh", "-c", "exit 41")
	check(cmd.Start())
	pidfd := -1
	pid, err := rawfork.ForkExec("/bin/sh", []string{"sh", "-c", "exit 42"},
		&syscall.ProcAttr{Sys: &syscall.SysProcAttr{PidFD: &pidfd}})
	check(err)
	mine, err := r.Start(func() (int, error) {
		return rawfork.ForkExec("/bin/sh", []string{"sh", "-c", "exit 43"}, nil)
	})
	check(err)
	peekPid(cmd.Process.Pid)
	peekPid(pid)

	// Children of other threads: a raw one without any mark.
	raw := make(chan int)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		pid, err := rawfork.ForkExec("/bin/sh", []string{"sh", "-c", "exit 44"}, nil)
		check(err)
		raw <- pid
	}()
	other := <-raw
	peekPid(other)

	for range n {
		parent, err := r.Start(forkOrphan)
		check(err)
		<-parent.Done()
	}
	seen := map[int]int{}
	for orphans := 0; orphans < n; {
		e := <-exits
		seen[e.Pid]++
		if e.Orphan {
			orphans++
			if e.Status.ExitStatus() != 7 {
				check(fmt.Errorf("orphan %d: %#x, want exit status 7", e.Pid, e.Status))
			}
		}
	}
	for pid, times := range seen {
		if times > 1 {
			check(fmt.Errorf("pid %d: %d exits", pid, times))
		}
	}
	for _, left := range []struct{ pid, code int }{{pid, 42}, {other, 44}} {
		status, err := rawfork.Wait(left.pid)
		if err != nil || status.ExitStatus() != left.code {
			check(fmt.Errorf("child %d: %v, %v, want exit status %d", left.pid, status.ExitStatus(), err, left.code))
		}
	}
	if err := cmd.Wait(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 41 {
		check(fmt.Errorf("os/exec: %v, want exit status 41", err))
	}
	<-mine.Done()
	unix.Close(pidfd)
	check(r.Close())
	var subreaper int32
	check(prctlGetSubreaper(&subreaper))
	if subreaper != 0 {
		check(fmt.Errorf("the process is still a subreaper"))
	}
	if forktest.HaveChild() {
		check(fmt.Errorf("a child is left"))
	}
	fmt.Print("ok")
}

// forkOrphan makes a child that leaves one of its own behind.
//
//go:norace
func forkOrphan() (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		if grandchild, _ := child.Fork(); grandchild == 0 {
			child.Exit(7)
		}
		child.Exit(0)
	}
	return pid, err
}

func peek(t testing.TB, pid int) {
	t.Helper()
	if err := peekPid(pid); err != nil {
		t.Fatal(err)
	}
}

// peekPid waits until a child has ended, and leaves it to be reaped.
func peekPid(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

func prctlGetSubreaper(into *int32) error {
	return rawcall.Prctl(unix.PR_GET_CHILD_SUBREAPER, unsafe.Pointer(into))
}
