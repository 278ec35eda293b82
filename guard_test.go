//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forbidden"
	"rawfork/internal/forktest"
	"rawfork/internal/load"
	"rawfork/internal/watchdog"
)

// TestGuardStops forks children that do what they must not, and wants each to
// die at once with a traceback that names the function at fault.
//
// Half of the children have an idle parent, the others a busy one, in turn of
// every kind. What Fork's contract speaks of is done 500 times in each half.
func TestGuardStops(t *testing.T) {
	shelf := newShelf(t)
	busy := load.Busy()
	for at, l := range load.All() {
		withLoad(t, l, func(t *testing.T) {
			var actions []forbidden.Action
			for i, action := range forbidden.Guarded() {
				n := tries(1, 10, 500)
				if action.Contract {
					n = tries(1, 500, 500)
				}
				if l.Name != "idle" { // a share of n, which may be one of its children or none
					n = (n + (at+i)%len(busy)) / len(busy)
				}
				actions = append(actions, slices.Repeat([]forbidden.Action{action}, n)...)
			}
			wantStopped(t, shelf, actions)
		})
	}
}

// tries picks how often to try: under -short, as a rule, and in the long form
// (RAWFORK_LONG in the environment, set by "make soak").
func tries(short, usual, long int) int {
	switch {
	case os.Getenv("RAWFORK_LONG") != "":
		return long
	case testing.Short():
		return short
	}
	return usual
}

// withLoad runs test as a subtest, under the load.
func withLoad(t *testing.T, l load.Load, test func(t *testing.T)) {
	t.Run(l.Name, func(t *testing.T) {
		stop, err := l.Start()
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		test(t)
	})
}

// wantStopped forks a child for each of the actions.
func wantStopped(t *testing.T, shelf shelf, actions []forbidden.Action) {
	for some := range slices.Chunk(actions, len(shelf)) {
		var pids [batch]int
		for i, action := range some {
			pids[i] = forkInto(t, shelf[i], action.Run)
		}
		for i, action := range some {
			status := forktest.Wait(t, pids[i])
			text := shelf.take(t, i)
			if problem := notStopped(status, text, action.Blames); problem != "" {
				t.Errorf("%s: %s; the child's standard error:\n%s", action.Name, problem, text)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// notStopped says what is wrong with the death of a child that the guard was to
// stop, or nothing.
func notStopped(status syscall.WaitStatus, text []byte, blames string) string {
	switch {
	case !status.Exited() || status.ExitStatus() != 2:
		return forktest.Describe(status) + ", want exit status 2"
	case !bytes.HasPrefix(text, []byte("fatal error: stack growth after fork\n")):
		return "died of something else than the guard"
	case !bytes.Contains(text, []byte(blames)):
		return "the traceback doesn't name " + blames
	}
	return ""
}

// forkInto forks a child that runs action with its standard error in file, and
// exits with status 0 if it gets so far.
//
//go:norace
func forkInto(t testing.TB, file *os.File, action func()) int {
	fd := int(file.Fd())
	pid, err := rawfork.Fork()
	if err != nil {
		t.Fatal(err)
	}
	if pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		child.Dup3(fd, 2, 0)
		action()
		child.Exit(0)
	}
	return pid
}

// batch is how many children run at a time: a dying Go program sleeps for some
// milliseconds, in which others can run.
const batch = 16

// shelf holds files in memory for the standard error of a batch of children. A
// pipe would have to be read while they run.
type shelf []*os.File

func newShelf(t testing.TB) shelf {
	t.Helper()
	s := make(shelf, batch)
	for i := range s {
		fd, err := unix.MemfdCreate("stderr", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		s[i] = os.NewFile(uintptr(fd), "stderr")
		t.Cleanup(func() { s[i].Close() })
	}
	return s
}

// take returns what is in file i and empties it.
func (s shelf) take(t testing.TB, i int) []byte {
	t.Helper()
	if _, err := s[i].Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(s[i])
	if err != nil {
		t.Fatal(err)
	}
	if err := s[i].Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := s[i].Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return text
}

// TestGuardUnderSettings wants the same of programs whose environment changes
// what the runtime prints, or makes it print all the time.
func TestGuardUnderSettings(t *testing.T) {
	t.Parallel() // it only waits for a helper process, as the next test does
	for _, test := range []struct{ setting, end string }{
		{"GOTRACEBACK=none", "exit status 2"},
		{"GOTRACEBACK=single", "exit status 2"},
		{"GOTRACEBACK=all", "exit status 2"},
		{"GOTRACEBACK=system", "exit status 2"},
		{"GOTRACEBACK=crash", "killed by aborted"},
		{"GODEBUG=gctrace=1", "exit status 2"},
	} {
		t.Run(test.setting, func(t *testing.T) {
			args := []string{test.end, "all"}
			if testing.Short() {
				args[1] = "short"
			}
			cmd := forktest.Command(t, "guardUnder", args...)
			cmd.Env = append(cmd.Env, test.setting)
			if out, err := cmd.Output(); err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
}

// guardUnder is the helper of TestGuardUnderSettings. Its arguments are how the
// children are to end, and under how many loads.
func guardUnder() {
	want := os.Args[1]
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	t := new(helperT)
	shelf := newShelf(t)
	loads := load.All()
	if os.Args[2] == "short" {
		loads = loads[:2]
	}
	for _, l := range loads {
		stop, err := l.Start()
		if err != nil {
			t.Fatal(err)
		}
		var pids []int
		for i, action := range contract() {
			pids = append(pids, forkInto(t, shelf[i], action.Run))
		}
		for i, action := range contract() {
			got := forktest.Describe(forktest.Wait(t, pids[i]))
			text := string(shelf.take(t, i))
			if !strings.HasPrefix(got, want) ||
				!strings.Contains(text, "fatal error: stack growth after fork\n") ||
				!strings.Contains(text, action.Blames) {
				t.Fatalf("%s, %s: %s, want %s and the name of %s:\n%s",
					l.Name, action.Name, got, want, action.Blames, text)
			}
		}
		stop()
	}
}

// contract are the guarded actions that Fork's contract names, fewer than batch.
func contract() (named []forbidden.Action) {
	for _, action := range forbidden.Guarded() {
		if action.Contract {
			named = append(named, action)
		}
	}
	return named
}

// TestGuardUnderTracing is about the one setting under which a stopped child can't
// die by itself: with schedtrace the dying program takes the scheduler's lock, and
// the parent's monitor may have held it at the fork. The child says why, and is
// killed some seconds later. Children that do what they may are not concerned.
func TestGuardUnderTracing(t *testing.T) {
	if testing.Short() {
		t.Skip("the children that must be killed take 10 s")
	}
	t.Parallel()
	cmd := forktest.Command(t, "guardUnderTracing")
	cmd.Env = append(cmd.Env, "GODEBUG=schedtrace=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Logf("%s", out)
}

// guardUnderTracing is the helper of TestGuardUnderTracing.
func guardUnderTracing() {
	t := new(helperT)
	shelf := newShelf(t)
	var pids [batch]int
	for i := range pids {
		pids[i] = forkInto(t, shelf[i], writeAllowed)
	}
	for i, pid := range pids {
		forktest.WantExit(t, pid, 0)
		shelf.take(t, i)
	}
	for i := range pids {
		pids[i] = forkInto(t, shelf[i], forbidden.Guarded()[0].Run)
	}
	// All are waited for before one is judged: a helper that ends leaves nobody.
	var problems []string
	killed := 0
	for i, pid := range pids {
		status := forktest.Wait(t, pid)
		text := shelf.take(t, i)
		if status.Signaled() && status.Signal() == syscall.SIGKILL {
			killed++
		} else if !status.Exited() || status.ExitStatus() != 2 {
			problems = append(problems, forktest.Describe(status)+", want exit status 2, or death by SIGKILL")
		}
		if !bytes.HasPrefix(text, []byte("fatal error: stack growth after fork\n")) {
			problems = append(problems, forktest.Describe(status)+" without a word of the guard")
		}
	}
	if len(problems) > 0 {
		t.Fatal(strings.Join(problems, "\n"))
	}
	fmt.Printf("%d of %d stopped children were killed under schedtrace=1\n", killed, batch)
}

//go:nosplit
//go:norace
func writeAllowed() { child.WriteString(2, "allowed\n") }

// helperT stands in for a test in a helper process: it prints and exits.
type helperT struct{ testing.TB }

func (*helperT) Helper()                     {}
func (*helperT) Cleanup(func())              {}
func (*helperT) Fatal(args ...any)           { fmt.Println(args...); os.Exit(1) }
func (h *helperT) Errorf(f string, a ...any) { h.Fatalf(f, a...) }
func (*helperT) Fatalf(f string, a ...any)   { fmt.Printf(f+"\n", a...); os.Exit(1) }

// TestGuardIsBlind shows what the guard doesn't see. With an idle parent,
// whatever is harmless runs on to the child's end; in a build that inlines less,
// the guard may see it after all. CAVEATS.md counts what the rest does under
// load.
func TestGuardIsBlind(t *testing.T) {
	shelf := newShelf(t)
	usual := usualBuild()
	for _, blind := range forbidden.Blind() {
		t.Run(blind.ID, func(t *testing.T) {
			for range tries(2, batch, batch) {
				status, hung := waitBlind(t, forkInto(t, shelf[0], blind.Run))
				text := shelf.take(t, 0)
				stopped := notStopped(status, text, "") == ""
				ended := status.Exited() && status.ExitStatus() == 0
				switch {
				case stopped && usual:
					t.Errorf("the guard stopped it:\n%s", text)
				case blind.Harmless && hung != "":
					t.Errorf("it hung:\n%s", hung)
				case blind.Harmless && !ended && !stopped:
					t.Errorf("%s, want exit status 0; standard error:\n%s", forktest.Describe(status), text)
				}
				status = forktest.Wait(t, forkInto(t, shelf[0], blind.Way))
				text = shelf.take(t, 0)
				stopped = notStopped(status, text, "") == ""
				if status != 0 && (usual || !stopped) {
					t.Errorf("the way instead: %s, want exit status 0; standard error:\n%s",
						forktest.Describe(status), text)
				}
			}
		})
	}
}

// waitBlind waits for a child that does what the guard doesn't see. Some of it may
// hang, on a lock that another thread of the parent held: that is what makes it a
// caveat, and it need not be waited for.
func waitBlind(t *testing.T, pid int) (status syscall.WaitStatus, hung string) {
	t.Helper()
	status, hung, err := watchdog.Wait(context.Background(), pid, blindLimit)
	if err != nil {
		t.Fatal(err)
	}
	return status, hung
}

// blindLimit is far above what such a child needs, and not so far that a test of
// a few that hang takes long.
const blindLimit = 10 * time.Second

// usualBuild tells whether this program was built with the optimisations that
// the guard's blind spots come from.
func usualBuild() bool {
	info, ok := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "-race" && setting.Value == "true" || setting.Key == "-gcflags" {
			return false
		}
	}
	return ok
}

// TestNilDereference shows that a child which dereferences nil dies by the
// signal: the handler that makes a panic of it is not there any more.
func TestNilDereference(t *testing.T) {
	shelf := newShelf(t)
	for i := range batch {
		forktest.WantSignal(t, forkInto(t, shelf[i], dereferenceNil), syscall.SIGSEGV)
	}
}

var nowhere *int

//go:nosplit
//go:norace
func dereferenceNil() { *nowhere = 1 }
