// Package probetest is for tests that explore fork(2): probes that end with the test,
// and a test that fails on what it leaves behind.
//
// Copy-on-write, in five lines:
//
//	x := new(int)
//	p := probetest.Fork(t)
//	*x = 1                                  // in the parent only
//	probetest.Want(t, 0)(probe.Load(p, x))  // the child has its own
//	probetest.OK(t, probe.Store(p, x, 2))   // and *x is 1 still
//
// One file offset, shared by parent and child, in five lines:
//
//	f, err := os.Open("/etc/hosts")
//	probetest.OK(t, err)
//	p := probetest.Fork(t)
//	probetest.Want(t, 3)(p.Read(int(f.Fd()), make([]byte, 3)))    // the child reads
//	probetest.Want(t, int64(3))(f.Seek(0, io.SeekCurrent))        // the parent's offset moved
//
// Tests run as they always do, with -race, -cover and in parallel. What runs in the
// child writes no coverage counter and isn't seen by the race detector: it is no code
// of yours.
package probetest

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rawfork/internal/watchdog"
	"rawfork/probe"
	"rawfork/procstate"
)

// Limit is how long a probe of [Fork] may live: far above what a test takes that
// doesn't hang.
const Limit = time.Minute

// Fork forks a probe for the test, as [probe.Fork] does, and closes it after the test,
// with its children and theirs. It ends the test when it can't. Where there is no fork
// the test is skipped.
//
// The test fails if after that it has left behind what wasn't there before its first
// Fork: a descriptor of this process, or a child, dead (a zombie) or alive. Of tests
// that fork in parallel the last one to end fails for all of them. In parallel with
// tests that don't, and open files, nobody can tell whose they are: don't run it so.
//
// A watchdog fails the test when the probe is still there after [Limit], shows where
// the child stands, and kills it: calls to it that hang fail then.
func Fork(t testing.TB) *probe.Probe {
	t.Helper()
	return ForkLimit(t, Limit)
}

// ForkLimit is Fork with a limit of the caller's.
func ForkLimit(t testing.TB, limit time.Duration) *probe.Probe {
	t.Helper()
	guard(t)
	p, err := probe.Fork()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var barks sync.WaitGroup
	barks.Add(1)
	dog := time.AfterFunc(limit, func() {
		defer barks.Done()
		t.Errorf("probe %d hung: still there after %v\n%s", p.Pid(), limit, watchdog.State(p.Pid()))
		p.Kill(syscall.SIGKILL)
	})
	t.Cleanup(func() {
		t.Helper()
		if !dog.Stop() {
			barks.Wait()
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// OK ends the test if err isn't nil.
func OK(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Equal fails the test if got isn't want, as cmp.Diff of go-cmp has it, and shows the
// difference.
func Equal[V any](t testing.TB, got, want V, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Want returns a function that checks what a call returned: the test ends if err isn't
// nil, and fails if got isn't want.
//
//	probetest.Want(t, os.Getpid())(p.Getppid())
func Want[V any](t testing.TB, want V, opts ...cmp.Option) func(got V, err error) {
	return func(got V, err error) {
		t.Helper()
		OK(t, err)
		Equal(t, got, want, opts...)
	}
}

// WantErr returns a function that fails the test unless a call returned an error that
// errors.Is finds want in.
//
//	probetest.WantErr(t, unix.EBADF)(p.Dup(99))
func WantErr(t testing.TB, want error) func(got any, err error) {
	return func(got any, err error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v and the error %v, want %v", got, err, want)
		}
	}
}

// Same fails the test if two states differ, and shows in what: see [procstate.Diff],
// also for ignore. The states of a parent and its child are told by [probe.Self] and
// [probe.Probe.State].
func Same(t testing.TB, got, want *procstate.State, ignore ...string) {
	t.Helper()
	if diff := procstate.Diff(want, got, ignore...); diff != "" {
		t.Errorf("states differ (want → got):\n%s", diff)
	}
}
