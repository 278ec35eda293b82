//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forbidden"
	"rawfork/internal/watchdog"
)

func caveats() []Caveat {
	list := []Caveat{plainFork}
	list = append(list, plainCaveats()...)
	list = append(list, heldOpen, sharedNonblock)
	list = append(list, sharedCaveats()...)
	list = append(list, pollerTimer, pollerData)
	list = append(list, processCaveats()...)
	list = append(list, forkExecCaveats()...)
	for _, unseen := range forbidden.Blind() {
		list = append(list, blind(unseen))
	}
	list = append(list, nilDereference, guardSchedtrace, guardRace, coverage)
	return append(list, forkallCaveats()...)
}

// plainFork is why there is this library.
var plainFork = Caveat{
	ID:       "plain-fork",
	Claim:    "A child of fork() that was called through cgo and returns to Go mostly hangs.",
	Why:      "A cgo call gives its P away. The child's way back to Go waits for one, and all belong to threads that it hasn't got.",
	Source:   "runtime.exitsyscall; golang/go#77032",
	Instead:  "rawfork.Fork, which keeps the P, and package child",
	busy:     "alloc",
	Rare:     true,
	together: true,
	bad: func(ctx context.Context) (string, error) {
		return withStderr(ctx, viaPlain, func() { fmt.Println("hello from the child") })
	},
	good: func(ctx context.Context) (string, error) { return forkInto(ctx, writeNothing, limit) },
}

// heldOpen is chapter row C8's second half.
var heldOpen = Caveat{
	ID:      "held-open",
	Claim:   "A pipe or connection that the parent closes stays open while a child lives.",
	Why:     "The child has every descriptor of the parent, close-on-exec or not.",
	Source:  "POSIX fork(); fork(2)",
	Instead: "rawfork.Serve, or child.KeepOnly first of all",
	busy:    "idle",
	bad: func(ctx context.Context) (string, error) {
		return closeBehind(ctx, func(fd int) (int, error) {
			pid, err := rawfork.Fork()
			if pid == 0 && err == nil {
				child.Discard(fd)
				child.Exit(done)
			}
			return pid, err
		}, 0)
	},
	good: func(ctx context.Context) (string, error) {
		return closeBehind(ctx, func(fd int) (int, error) { return rawfork.Serve(fd, discardAndExit) }, limit)
	},
}

// closeBehind forks a child that lives until the pipe fd ends, closes the writing
// end of another pipe, and waits for that one's end.
func closeBehind(ctx context.Context, fork func(fd int) (int, error), limit time.Duration) (string, error) {
	var life, other [2]int
	if err := unix.Pipe2(life[:], unix.O_CLOEXEC); err != nil {
		return "", os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(life[0])
	if err := unix.Pipe2(other[:], unix.O_CLOEXEC); err != nil {
		unix.Close(life[1])
		return "", os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(other[0])
	pid, err := fork(life[0])
	unix.Close(other[1])
	if err != nil {
		unix.Close(life[1])
		return "", err
	}
	seen := pollIn(other[0], limit)
	// The child of a bare Fork holds the writing end of its own pipe too.
	unix.Write(life[1], []byte{0})
	unix.Close(life[1])
	if !seen {
		unix.Kill(pid, unix.SIGKILL)
		_, err := rawfork.Wait(pid)
		return "stayed open", err
	}
	return ended(ctx, pid, limit)
}

// sharedNonblock is why package child waits by poll(2).
var sharedNonblock = Caveat{
	ID:      "shared-nonblock",
	Claim:   "A child that makes a descriptor of package net blocking makes it so in the parent.",
	Why:     "O_NONBLOCK belongs to the open file description, which both share.",
	Source:  "POSIX open(); fcntl(2)",
	Instead: "package child, which leaves the flag alone and waits by poll(2)",
	busy:    "idle",
	bad:     func(ctx context.Context) (string, error) { return nonblockAfter(ctx, makeBlocking) },
	good:    func(ctx context.Context) (string, error) { return nonblockAfter(ctx, readToEnd) },
}

// nonblockAfter serves a non-blocking pipe in a child and looks at the flag after it.
func nonblockAfter(ctx context.Context, handler func(fd int)) (string, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return "", os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(pipe[0])
	pid, err := rawfork.Serve(pipe[0], handler)
	unix.Close(pipe[1])
	if err != nil {
		return "", err
	}
	how, err := ended(ctx, pid, limit)
	if how != "" || err != nil {
		return how, err
	}
	flags, err := unix.FcntlInt(uintptr(pipe[0]), unix.F_GETFL, 0)
	if err != nil {
		return "", os.NewSyscallError("fcntl", err)
	}
	if flags&unix.O_NONBLOCK == 0 {
		return "blocking in the parent", nil
	}
	return "", nil
}

// blind is the caveat of something that the guard doesn't see.
func blind(unseen forbidden.Unseen) Caveat {
	c := Caveat{
		ID:      unseen.ID,
		Claim:   "The guard doesn't see " + unseen.Name + ".",
		Why:     upperFirst(unseen.Why) + ".",
		Source:  "measured: the stack check is in a function's first instructions",
		Instead: unseen.Instead,
		busy:    "gc",
		Rare:    unseen.ID == "guard-gosched", // it mostly dies of the next check of the runtime
		bad: func(ctx context.Context) (string, error) {
			how, err := forkInto(ctx, unseen.Run, controlLimit)
			if how == "" {
				how = "ran unseen"
			}
			return how, err
		},
	}
	if unseen.Instead != "" {
		c.good = func(ctx context.Context) (string, error) { return forkInto(ctx, unseen.Way, limit) }
	}
	return c
}

// hung is how a child ended that the watchdog killed.
const hung = "hung"

// forkInto forks a child that runs f without any output, and tells how it ended.
//
//go:norace
func forkInto(ctx context.Context, f func(), limit time.Duration) (string, error) {
	sink, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	defer sink.Close()
	fd := int(sink.Fd())
	pid, err := rawfork.Fork()
	if err != nil {
		return "", err
	}
	if pid == 0 {
		child.Dup3(fd, 2, 0)
		f()
		child.Exit(done)
	}
	return ended(ctx, pid, limit)
}

// ended waits for a child that should exit with the status done.
func ended(ctx context.Context, pid int, limit time.Duration) (string, error) {
	status, state, err := watchdog.WaitInKernel(ctx, pid, limit)
	reapGroup(pid)
	switch {
	case err != nil:
		return "", err
	case state != "":
		return hung, nil
	case status.Exited() && status.ExitStatus() == done:
		return "", nil
	case status.Exited() && status.ExitStatus() == 2:
		return stopped, nil
	}
	return fmt.Sprintf("wait status %#x", uint32(status)), nil
}

//go:nosplit
//go:norace
func writeNothing() { child.WriteString(2, "hello from the child\n") }

//go:nosplit
//go:norace
func discardAndExit(fd int) {
	child.Discard(fd)
	child.Exit(done)
}

//go:nosplit
//go:norace
func makeBlocking(fd int) {
	child.SetNonblock(fd, false)
	child.Exit(done)
}

//go:nosplit
//go:norace
func readToEnd(fd int) {
	child.Discard(fd)
	child.Exit(done)
}
