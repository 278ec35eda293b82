//go:build cgo && (amd64 || arm64)

package rawfork_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
)

// Wait returns what wait4 says of the child's end, and reaps it.
func TestWait(t *testing.T) {
	for _, code := range []int{0, 1, 42, 255} {
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Exit(code)
		}
		if err != nil {
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, code)
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("the child after Wait: %v, want ESRCH", err)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.Signal(40)} {
		pid := hold(t)
		syscall.Kill(pid, sig)
		forktest.WantSignal(t, pid, sig)
	}
}

// A signal that Go handles on the waiting thread interrupts wait4: Wait takes it
// up again, as often as it comes.
func TestWaitGoesOnAfterSignal(t *testing.T) {
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, syscall.SIGUSR1)
	defer signal.Stop(handled)
	pid := hold(t)
	tids := make(chan int, 1)
	statuses := make(chan syscall.WaitStatus, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tids <- unix.Gettid()
		statuses <- forktest.Wait(t, pid)
	}()
	tid := <-tids
	for range 20 {
		// The thread is in the kernel's wait, not on its way there.
		if err := untilIn(tid, unix.SYS_WAIT4); err != nil {
			t.Fatal(err)
		}
		if err := unix.Tgkill(os.Getpid(), tid, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		<-handled
	}
	select {
	case status := <-statuses:
		t.Fatalf("Wait returned while the child lives: %s", forktest.Describe(status))
	default:
	}
	syscall.Kill(pid, syscall.SIGKILL)
	if status := <-statuses; status.Signal() != syscall.SIGKILL {
		t.Errorf("child: %s, want killed", forktest.Describe(status))
	}
}

// untilIn returns once the thread tid of this process blocks in one of the
// syscalls.
func untilIn(tid int, numbers ...int) error {
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
		if err != nil {
			return err
		}
		number, _, _ := strings.Cut(string(text), " ")
		if n, err := strconv.Atoi(number); err == nil && slices.Contains(numbers, n) { // else "running"
			return nil
		}
		runtime.Gosched()
	}
}

// Wait takes one child: what names many, none, or somebody else's is an error.
func TestWaitErrors(t *testing.T) {
	reaped, err := rawfork.Fork()
	if reaped == 0 {
		child.Exit(0)
	}
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, reaped, 0)
	for _, test := range []struct {
		name  string
		pid   int
		want  error
		words string
	}{
		{"any child of the group", 0, syscall.EINVAL, "wait4 0: not the pid of one child: invalid argument"},
		{"any child", -1, syscall.EINVAL, "wait4 -1: not the pid of one child: invalid argument"},
		{"any child of a group", -os.Getpid(), syscall.EINVAL, ""},
		{"itself", os.Getpid(), syscall.ECHILD, ""},
		{"its parent", os.Getppid(), syscall.ECHILD, ""},
		{"reaped already", reaped, syscall.ECHILD, ""},
		{"no process", 1<<22 + 1, syscall.ECHILD, "wait4 4194305: no child processes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, err := rawfork.Wait(test.pid)
			if !errors.Is(err, test.want) || status != 0 {
				t.Errorf("Wait(%d) = %v, %v, want 0, %v", test.pid, status, err, test.want)
			}
			if test.words != "" && err.Error() != test.words {
				t.Errorf("Wait(%d): %q, want %q", test.pid, err, test.words)
			}
		})
	}
}

// Wait is not over when the child stops.
func TestWaitIgnoresStop(t *testing.T) {
	pid := hold(t)
	syscall.Kill(pid, syscall.SIGSTOP)
	untilStopped(t, pid)
	syscall.Kill(pid, syscall.SIGKILL)
	forktest.WantSignal(t, pid, syscall.SIGKILL)
}

// untilStopped returns once the child has stopped, and leaves it to be waited for.
func untilStopped(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}

// wait4 tells the tracer of a child of its stops, and so does Wait: the child is
// not reaped by that.
func TestWaitReportsStopToTracer(t *testing.T) {
	runtime.LockOSThread() // ptrace is per thread
	defer runtime.UnlockOSThread()
	pid := hold(t)
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	status := forktest.Wait(t, pid)
	if !status.Stopped() {
		t.Fatalf("traced child: %s, want stopped", forktest.Describe(status))
	}
	if err := unix.PtraceDetach(pid); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	forktest.WantSignal(t, pid, syscall.SIGKILL)
}

// Fork and Wait allocate nothing in the parent.
func TestForkAndWaitDoNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(50, func() {
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Exit(0)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rawfork.Wait(pid); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Fork and Wait allocate %v times, want 0", n)
	}
}
