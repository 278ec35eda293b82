//go:build linux && cgo && (amd64 || arm64)

package probetest_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/probe"
	"rawfork/probe/probetest"
	"rawfork/procstate"
)

func TestMain(m *testing.M) { forktest.Main(m, nil) }

func TestCopyOnWrite(t *testing.T) {
	x := new(int)
	p := probetest.Fork(t)
	*x = 1
	probetest.Want(t, 0)(probe.Load(p, x))
	probetest.OK(t, probe.Store(p, x, 2))
	probetest.Equal(t, *x, 1)
}

func TestSharedOffset(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	probetest.OK(t, os.WriteFile(name, []byte("abcdef"), 0o600))
	f, err := os.Open(name)
	probetest.OK(t, err)
	defer f.Close()
	p := probetest.Fork(t)
	probetest.Want(t, 3)(p.Read(int(f.Fd()), make([]byte, 3)))
	probetest.Want(t, int64(3))(f.Seek(0, io.SeekCurrent))
}

func TestStateOfChild(t *testing.T) {
	_, err := probe.Self() // has the Go runtime make its poller, if it had none
	probetest.OK(t, err)
	p := probetest.Fork(t)
	self, err := probe.Self()
	probetest.OK(t, err)
	state, err := p.State()
	probetest.OK(t, err)
	probetest.Same(t, state, self, slices.Concat(procstate.Identity, procstate.Moving, []string{
		"PPID", "Caught", "Descriptors[].Offset", // what fork(2) changes, rawfork.Fork, and others that write
		"Blocked", "Dumpable", // not told alike of this process and of others
	})...)
}

func TestParallel(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for range 2 {
				p := probetest.Fork(t)
				probetest.Want(t, p.Pid())(p.Getpid())
				g, err := p.Fork()
				probetest.OK(t, err)
				probetest.Want(t, p.Pid())(g.Getppid())
			}
		})
	}
}

// A fake is a test that is run by hand: what it says is kept.
type fake struct {
	testing.TB // for what isn't asked for here
	name       string

	mu       sync.Mutex
	cleanups []func()
	errors   []string
	failed   bool
}

func (f *fake) Helper()           {}
func (f *fake) Name() string      { return f.name }
func (f *fake) Cleanup(do func()) { f.cleanups = append(f.cleanups, do) }

func (f *fake) Error(args ...any) { f.Errorf("%s", fmt.Sprintln(args...)) }

func (f *fake) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors, f.failed = append(f.errors, fmt.Sprintf(format, args...)), true
}

func (f *fake) Fatal(args ...any) {
	f.Error(args...)
	runtime.Goexit()
}

// end runs the cleanups, the last one first.
func (f *fake) end() {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}

// run runs a test to its end, in a goroutine of its own as package testing does.
func (f *fake) run(test func(t testing.TB)) *fake {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.end()
		test(f)
	}()
	<-done
	return f
}

// report is all that the test said.
func (f *fake) report() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.errors, "\n")
}

// wantReport fails unless f failed with each of the texts.
func wantReport(t *testing.T, f *fake, texts ...string) {
	t.Helper()
	report := f.report()
	if len(texts) == 0 && report != "" {
		t.Errorf("%s reports:\n%s\nwant nothing", f.name, report)
	}
	for _, text := range texts {
		if !strings.Contains(report, text) {
			t.Errorf("%s reports:\n%s\nwant %q in it", f.name, report, text)
		}
	}
}

func TestReportsZombie(t *testing.T) {
	var pid int
	f := (&fake{name: "zombie"}).run(func(t testing.TB) {
		probetest.Fork(t)
		pid = zombie(t)
	})
	wantReport(t, f, "left behind", fmt.Sprintf("child %d: ", pid), "state Z")
	forktest.WantExit(t, pid, 0)
}

// zombie forks a child that nobody waits for.
func zombie(t testing.TB) int {
	pid, err := rawfork.Fork()
	if pid == 0 && err == nil {
		child.Exit(0)
	}
	probetest.OK(t, err)
	probetest.OK(t, unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	return pid
}

func TestReportsDescriptor(t *testing.T) {
	var leaked *os.File
	f := (&fake{name: "descriptor"}).run(func(t testing.TB) {
		probetest.Fork(t)
		var err error
		leaked, err = os.Open(os.DevNull)
		probetest.OK(t, err)
	})
	wantReport(t, f, fmt.Sprintf("descriptor %d: /dev/null", leaked.Fd()))
	probetest.OK(t, leaked.Close())
}

// What was there before the first Fork, and a probe that the test itself closed, is
// nothing to report.
func TestReportsNothingElse(t *testing.T) {
	file, err := os.Open(os.DevNull)
	probetest.OK(t, err)
	defer file.Close()
	pid := zombie(t)
	f := (&fake{name: "clean"}).run(func(t testing.TB) {
		p := probetest.Fork(t)
		g, err := p.Fork()
		probetest.OK(t, err)
		probetest.OK(t, g.Exit(1))
		probetest.OK(t, p.Close())
		probetest.Fork(t)
	})
	wantReport(t, f)
	forktest.WantExit(t, pid, 0)
}

// A child that hangs in a call is shown and killed, and the test goes on to its end.
func TestReportsHang(t *testing.T) {
	var after error
	f := (&fake{name: "hang"}).run(func(t testing.TB) {
		p := probetest.ForkLimit(t, time.Millisecond)
		_, after = p.Syscall(unix.SYS_PPOLL, nil, 0, nil, nil, 0)
	})
	if after == nil {
		t.Error("the call that hung succeeded")
	}
	wantReport(t, f, "hung: still there after 1ms", "-- status", "PPid:\t"+fmt.Sprint(os.Getpid()))
}

// Two tests that run in parallel: the last one to end reports what either left, not
// what the other had open meanwhile.
func TestReportsOfParallelTests(t *testing.T) {
	first, second, sub := &fake{name: "first"}, &fake{name: "second"}, &fake{name: "second/sub"}
	fork := func(f *fake) { probetest.Fork(f) }
	open := func() *os.File {
		file, err := os.Open(os.DevNull)
		probetest.OK(t, err)
		return file
	}
	fork(first)
	leaked := open()
	fork(second)
	own := open() // of the second test, while it runs
	fork(sub)
	first.end()
	wantReport(t, first)
	sub.end()
	wantReport(t, sub)
	probetest.OK(t, own.Close())
	second.end()
	wantReport(t, second, fmt.Sprintf("descriptor %d: /dev/null", leaked.Fd()), "ran in parallel: first")
	if strings.Count(second.report(), "/dev/null") != 1 {
		t.Errorf("more than one descriptor is reported:\n%s", second.report())
	}
	probetest.OK(t, leaked.Close())
}

// The checks fail when they should, with what they saw.
func TestChecksFail(t *testing.T) {
	f := (&fake{name: "checks"}).run(func(t testing.TB) {
		probetest.Equal(t, 1, 2)
		probetest.Want(t, "a")("b", nil)
		probetest.WantErr(t, unix.EBADF)(7, nil)
		probetest.WantErr(t, unix.EBADF)(7, fmt.Errorf("wrapped: %w", unix.EBADF))
		probetest.Same(t, &procstate.State{PID: 1, Umask: 2}, &procstate.State{PID: 1, Umask: 3}, "PPID")
		probetest.Want(t, 0)(0, unix.EAGAIN)
		t.Error("not reached")
	})
	wantReport(t, f, "2,", "1,", `"a"`, `"b"`, "got 7 and the error <nil>, want bad file descriptor",
		"Umask: 0003 → 0002", "resource temporarily unavailable")
	if report := f.report(); strings.Contains(report, "not reached") || strings.Contains(report, "wrapped") {
		t.Errorf("reported too much:\n%s", report)
	}
}
