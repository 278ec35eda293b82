//go:build cgo && (amd64 || arm64)

package rules

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/rules/internal/plainfork"
)

// plainCaveats are what goes wrong in the child of a plain fork. In a child of the
// library the same call is either safe or stopped at once.
func plainCaveats() []Caveat {
	return []Caveat{
		afterPlain(Caveat{
			ID:      "p-retaken",
			Claim:   "A child of a plain fork that does nothing but _exit may hang.",
			Why:     "The parent's monitor retakes the P of the cgo call when it lasts; then the child has none to return to Go with.",
			Source:  "runtime/proc.go: exitsyscall, retake",
			Instead: "rawfork.Fork, which forks with the P held",
			busy:    "alloc",
			Rare:    true,
		}, nothing, wellWith(nothing)),
		afterPlain(Caveat{
			ID:      "syscall-exec",
			Claim:   "syscall.Exec in the child of a plain fork may hang.",
			Why:     "It waits for a P, and for the end of thread creations by threads that aren't there.",
			Source:  "syscall/exec_unix.go: runtime_BeforeExec",
			Instead: "child.Exec of an image that was prepared before the fork",
			busy:    "alloc",
			Rare:    true,
		}, func() { syscall.Exec("/bin/sh", []string{"sh", "-c", exitDoneScript}, nil) }, execTrue),
		afterPlain(Caveat{
			ID:      "os-exec",
			Claim:   "os/exec in the child of a plain fork may hang.",
			Why:     "It needs the scheduler and the poller of a process that isn't there.",
			Source:  "golang/go#14180",
			Instead: "rawfork.ForkExec in the parent, or child.Fork and child.Exec in the child",
			busy:    "alloc",
			Rare:    true,
		}, func() { exec.Command("/bin/true").Run() }, execTrue),
		afterPlain(Caveat{
			ID:      "collection",
			Claim:   "A garbage collection in the child of a plain fork hangs.",
			Why:     "It waits for workers on threads that aren't there.",
			Source:  "runtime/mgc.go: gcStart",
			Instead: "none; runtime.GC dies at once",
			busy:    "idle",
			Rare:    true, // some find a way on a loaded machine
		}, runtime.GC, stoppedIn(runtime.GC)),
		afterPlain(Caveat{
			ID:      "allocation",
			Claim:   "Allocation in the child of a plain fork hangs in time.",
			Why:     "It starts a collection.",
			Source:  "runtime/malloc.go: mallocgc",
			Instead: "memory made before the fork; an allocation dies at once",
			busy:    "idle",
			Rare:    true, // some find a way on a loaded machine
		}, allocateMuch, stoppedIn(allocateMuch)),
		afterPlain(Caveat{
			ID:      "stop-the-world",
			Claim:   "What stops the world, such as runtime.ReadMemStats, hangs in the child of a plain fork.",
			Why:     "It waits for the goroutines that ran at the fork to stop, on threads that aren't there.",
			Source:  "runtime/proc.go: stopTheWorldWithSema",
			Instead: "none; the call dies at once",
			busy:    "alloc",
			Rare:    true, // with one processor nothing else runs
		}, stopTheWorld, stoppedIn(stopTheWorld)),
		stackGrowth,
		afterPlain(Caveat{
			ID:      "goroutine",
			Claim:   "A goroutine started in the child of a plain fork may never run.",
			Why:     "The child has one thread and whatever Ps the fork left it.",
			Source:  "fork(2): the child has one thread",
			Instead: "child.Fork for a second process; a go statement dies at once",
			busy:    "alloc",
			Rare:    true,
		}, startGoroutine, stoppedIn(startGoroutine)),
		channel,
		afterPlain(Caveat{
			ID:      "timer",
			Claim:   "time.Sleep in the child of a plain fork may not end.",
			Why:     "The thread that would look at the timers isn't there.",
			Source:  "runtime/time.go; fork(2): the child has one thread",
			Instead: "child.Sleep",
			busy:    "alloc",
			Rare:    true,
		}, func() { time.Sleep(time.Millisecond) }, wellWith(sleepInChild)),
		afterPlain(Caveat{
			ID:      "mutex-held",
			Claim:   "A sync.Mutex that another goroutine held at the fork stays locked in the child.",
			Why:     "Its holder isn't there to unlock it.",
			Source:  "POSIX fork(), rationale",
			Instead: "no locks in the child; waiting for one dies at once",
			busy:    "idle",
		}, lockHeld, stoppedIn(lockHeld)),
		logHeld,
		afterPlain(Caveat{
			ID:      "print-lock",
			Claim:   "A child that prints by println, or prints its own death, may hang when the parent uses println or a GODEBUG trace.",
			Why:     "Another thread held the runtime's print lock at the fork.",
			Source:  "runtime/print.go: printlock",
			Instead: "rawfork.Fork, which holds that lock while it forks, so that a stopped child can say why",
			busy:    "print",
			Rare:    true,
		}, printEmpty, stoppedIn(printEmpty)),
		{
			ID:      "done-twice",
			Claim:   "The parent's goroutines and timers go on in the child of a plain fork too, when its own goroutine waits: what they do is done twice.",
			Why:     "All goroutines are copied, and the child's one thread runs whichever is ready.",
			Source:  "runtime/proc.go: schedule",
			Instead: "rawfork.Fork, whose child never schedules",
			busy:    "idle",
			Rare:    true, // the child may hang instead
			bad:     func(ctx context.Context) (string, error) { return timerInBoth(ctx, viaPlain, sleepLong) },
			good:    func(ctx context.Context) (string, error) { return timerInBoth(ctx, viaLibrary, sleepLongInChild) },
		},
		{
			ID:      "buffer-twice",
			Claim:   "What stood in a buffer at the fork is written twice when parent and child flush it.",
			Why:     "The buffer is memory, and copied.",
			Source:  "POSIX fork(); exit(3)",
			Instead: "flushing before the fork; a flush in the child dies at once",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return flushInBoth(ctx, viaPlain) },
			good:    func(ctx context.Context) (string, error) { return flushInBoth(ctx, viaLibrary) },
		},
	}
}

// afterPlain makes a caveat of what a child of a plain fork does.
func afterPlain(c Caveat, act func(), good func(context.Context) (string, error)) Caveat {
	c.bad = func(ctx context.Context) (string, error) { return withStderr(ctx, viaPlain, act) }
	c.good, c.together = good, true
	return c
}

// wellWith wants a child of the library that runs act to end well.
func wellWith(act func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return withStderr(ctx, viaLibrary, act) }
}

// stoppedIn wants a child of the library that runs act to be stopped by the guard.
func stoppedIn(act func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		how, err := withStderr(ctx, viaLibrary, act)
		switch how {
		case byGuard:
			how = ""
		case "":
			how = "ran on"
		}
		return how, err
	}
}

// byGuard is how a child ended that the guard stopped, and nothing else.
const byGuard = "stopped by the guard"

// withStderr forks a child that runs act and exits, and tells how it ended.
func withStderr(ctx context.Context, via way, act func()) (string, error) {
	stderr, err := memoryFile("stderr")
	if err != nil {
		return "", err
	}
	defer stderr.Close()
	pid, err := via.fork(int(stderr.Fd()), act)
	if err != nil {
		return "", err
	}
	how, err := ended(ctx, pid, via.limit)
	if how == stopped {
		said, err := contents(stderr)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(said, "fatal error: stack growth after fork\n") {
			how = byGuard
		}
	}
	return how, err
}

// way is a way to fork a child that runs act, with its standard error going to a
// descriptor, and exits with the status done; and how long such a child may take.
type way struct {
	fork  func(stderr int, act func()) (pid int, err error)
	limit time.Duration
}

var (
	viaLibrary = way{forkLibrary, limit}
	viaPlain   = way{forkPlain, controlLimit}
)

//go:norace
func forkLibrary(stderr int, act func()) (int, error) {
	pid, err := rawfork.Fork()
	if err == nil && pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		child.Dup3(stderr, 2, 0)
		act()
		child.Exit(done)
	}
	return pid, err
}

// viaClone is plain, too, but that it keeps its P: for what goes wrong in a child that
// can run.
var viaClone = way{forkClone, controlLimit}

func forkClone(stderr int, act func()) (int, error) {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("clone", errno)
	}
	if pid == 0 {
		child.Dup3(stderr, 2, 0)
		act()
		child.Exit(done)
	}
	return int(pid), nil
}

// plainForking is held while a plain fork is made, for ever in the child: there, other
// goroutines of the parent may run, and must not fork.
var plainForking sync.Mutex

func forkPlain(stderr int, act func()) (int, error) {
	plainForking.Lock()
	defer plainForking.Unlock()
	pid := plainfork.Fork(stderr)
	if pid == 0 {
		act()
		child.Exit(done)
	}
	if pid < 0 {
		return -1, os.NewSyscallError("fork", syscall.Errno(-pid))
	}
	return pid, nil
}

// execTrue is the library's way to become another program.
func execTrue(ctx context.Context) (string, error) {
	o, err := execProgram(ctx)
	if o.hung != "" {
		return hung, err
	}
	return o.wrong, err
}

// memoryFile makes a file in memory.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// contents returns what is in a file in memory.
func contents(file *os.File) (string, error) {
	text, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
	return string(text), err
}

// What the children do.

var (
	held = lockedMutex()
	//lint:ignore U1000 it is written to, for the effect
	sink     any
	empty    string
	buffered *bufio.Writer
)

func lockedMutex() *sync.Mutex {
	m := new(sync.Mutex)
	m.Lock()
	return m
}

// exitDoneScript is a program that ends as a child should.
var exitDoneScript = fmt.Sprintf("exit %d", done)

//go:nosplit
//go:norace
func nothing() {}

// allocateMuch allocates far more than starts a collection.
func allocateMuch() {
	for range 64 {
		sink = make([]byte, 1<<20)
	}
}

func stopTheWorld() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
}

func startGoroutine() {
	done := make(chan bool)
	go close(done)
	<-done
}

//go:nosplit
//go:norace
func sleepInChild() { child.Sleep(time.Millisecond) }

//go:nosplit
//go:norace
func lockHeld() { held.Lock() }

//go:nosplit
//go:norace
func printEmpty() { println(empty) }

//go:nosplit
//go:norace
func flush() { buffered.Flush() }

// flushInBoth has parent and child flush one buffer.
func flushInBoth(ctx context.Context, via way) (string, error) {
	file, err := memoryFile("buffered")
	if err != nil {
		return "", err
	}
	defer file.Close()
	buffered = bufio.NewWriter(file)
	fmt.Fprintln(buffered, "line")
	// How the child ended is no matter here: of the library's, the guard stopped it.
	if _, err := withStderr(ctx, via, flush); err != nil {
		return "", err
	}
	if err := buffered.Flush(); err != nil {
		return "", err
	}
	written, err := contents(file)
	if n := strings.Count(written, "line"); n != 1 {
		return fmt.Sprintf("written %d times", n), err
	}
	return "", err
}

// timerInBoth forks with a timer pending, whose function writes to a file.
func timerInBoth(ctx context.Context, via way, act func()) (string, error) {
	file, err := memoryFile("timer")
	if err != nil {
		return "", err
	}
	defer file.Close()
	fired := make(chan error, 1)
	time.AfterFunc(pending, func() {
		_, err := file.WriteString(".")
		fired <- err
	})
	how, err := withStderr(ctx, via, act)
	if err := errors.Join(err, <-fired); err != nil {
		return "", err
	}
	written, err := contents(file)
	if n := len(written); n != 1 {
		return fmt.Sprintf("done %d times", n), err
	}
	return how, err
}

// pending is how long the timer has to go at the fork; children sleep longer.
const pending = 20 * time.Millisecond

func sleepLong() { time.Sleep(3 * pending) }

//go:nosplit
//go:norace
func sleepLongInChild() { child.Sleep(3 * pending) }
