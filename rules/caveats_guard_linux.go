//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"rawfork/internal/load"
)

// Caveats of what a child of the library does, in programs that are built or run in
// other ways.

var nilDereference = Caveat{
	ID:      "nil-dereference",
	Claim:   "A child that dereferences nil dies of SIGSEGV, without a traceback.",
	Why:     "The handler that makes a panic of it is gone.",
	Source:  "runtime/proc.go: syscall_runtime_AfterForkInChild",
	Instead: "a check",
	busy:    "idle",
	bad:     segfaults(dereference),
	good:    wellWith(dereferenceChecked),
}

// guardSchedtrace has a limit of its own on how long a child may take to die: see
// deathlimit_linux.go in package rawfork.
var guardSchedtrace = Caveat{
	ID:       "guard-schedtrace",
	Claim:    "Under GODEBUG=schedtrace a child that the guard stops says why, but may hang then instead of dying.",
	Why:      "A dying program takes the scheduler's lock to print its state, and the parent's monitor may have held it at the fork. A timer that the dying child sets for itself kills it after 10 s; here the watchdog is faster.",
	Source:   "runtime/panic.go: startpanic_m",
	Instead:  "no schedtrace in programs that fork, or children that keep the rules",
	busy:     "alloc",
	Rare:     true,
	together: true,
	env:      []string{"GODEBUG=schedtrace=1"},
	bad:      stoppedIn(printEmpty),
	good:     wellWith(writeNothing),
}

// guardRace is most often seen with atomic operations on what others use: the detector
// has a lock for each such variable.
var guardRace = Caveat{
	ID:      "guard-race",
	Claim:   "In a program built with -race a child that calls sync/atomic, or runs code of one's own without the mark go:norace, may hang.",
	Why:     "Both call the race detector, and another thread may have held one of its locks at the fork: here that of the variable. TestRaceDetector counts the code without the mark, which waits for the lock on the detector's trace: 1 of some 400 with a busy parent.",
	Source:  "runtime/race: the detector's runtime, without a handler for fork",
	Instead: "plain loads and stores, in functions marked go:norace beside go:nosplit",
	busy:    "idle",
	Rare:    true,
	Build:   []string{"-race"},
	bad:     whileCounted(countAtomically),
	good:    whileCounted(countUnwatched),
}

var coverage = Caveat{
	ID:      "coverage",
	Claim:   "A program built with -cover has no coverage counters of what its child did.",
	Why:     "They are written at the program's end, and the child ends by _exit.",
	Source:  "runtime/coverage; GOCOVERDIR",
	Instead: "a Go child of package helper, which ends as a program does; or a test of the handler in the parent",
	busy:    "idle",
	builds:  []string{"-cover"},
	bad:     countersOf("fork"),
	good:    countersOf("helper"),
}

// segfaults wants act to kill a child of the library by SIGSEGV.
func segfaults(act func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		how, err := withStderr(ctx, viaLibrary, act)
		if how == fmt.Sprintf("wait status %#x", uint32(unix.SIGSEGV)) {
			how = "died of SIGSEGV"
		}
		return how, err
	}
}

var nowhere *int

//go:nosplit
//go:norace
func dereference() { *nowhere = 1 }

//go:nosplit
//go:norace
func dereferenceChecked() {
	if nowhere != nil {
		*nowhere = 1
	}
}

// whileCounted forks a child that runs act while many threads add to a counter.
func whileCounted(act func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		const threads = 8
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		quit := make(chan struct{})
		var group sync.WaitGroup
		load.Repeat(&group, quit, threads, func() {
			for range 1000 {
				atomic.AddInt64(&counted, 1)
			}
		})
		defer group.Wait()
		defer close(quit)
		return forkInto(ctx, act, limit)
	}
}

var (
	// counted is not an atomic.Int64: with -race, the guard sees a call of its methods.
	counted int64
	//lint:ignore U1000 it is written to, for the effect
	uncounted int64
)

//go:nosplit
//go:norace
func countAtomically() { atomic.AddInt64(&counted, 1) }

//go:nosplit
//go:norace
func countUnwatched() { uncounted++ }

// countedProgram is the program whose coverage is counted.
const countedProgram = "rawfork/rules/internal/counted"

// buildCounted builds it once in the life of this process.
var buildCounted = sync.OnceValues(func() (string, error) {
	path, remove, err := goBuild(context.Background(), countedProgram, "-cover", "-coverpkg="+countedProgram)
	if err == nil {
		atEnd.add(remove)
	}
	return path, err
})

// countersOf runs a program with a child of the given kind, and looks for the counters
// of both.
func countersOf(kind string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		path, err := buildCounted()
		if err != nil {
			return "", err
		}
		dir, err := os.MkdirTemp("", "rawfork-cover")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
		cmd := exec.CommandContext(ctx, path, kind)
		cmd.Env = append(os.Environ(), "GOCOVERDIR="+dir)
		said, err := cmd.Output() // the child's pid
		if err != nil {
			return "", fmt.Errorf("%s: %w", countedProgram, err)
		}
		child, err := strconv.Atoi(strings.TrimSpace(string(said)))
		if err != nil {
			return "", err
		}
		// The name of a file of counters has a hash, the pid and the time.
		for pid, what := range map[int]string{cmd.Process.Pid: "the parent", child: "the child"} {
			names, err := filepath.Glob(fmt.Sprintf("%s/covcounters.*.%d.*", dir, pid))
			if err != nil || len(names) == 0 {
				return "no counters of " + what, err
			}
		}
		return "", nil
	}
}
