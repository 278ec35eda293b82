//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/watchdog"
	"rawfork/rules/internal/posix"
)

// processCaveats are about what a child does to its parent's files, signals and memory.
func processCaveats() []Caveat {
	return []Caveat{
		{
			ID:       "netpoll",
			Claim:    "A child of a plain fork that reads from a file of package os, or from a connection, may wait for ever.",
			Why:      "It waits at the parent's epoll instance, with one thread and whatever Ps the fork left it.",
			Source:   "runtime/netpoll_epoll.go; epoll(7)",
			Instead:  "child.Read, which waits by poll(2)",
			busy:     "idle",
			Rare:     true,
			bad:      readAfterFork(forkReader, controlLimit),
			good:     readAfterFork(forkRawReader, limit),
			together: true,
		},
		afterPlain(Caveat{
			ID:      "os-signal",
			Claim:   "os/signal tells nobody in the child of a plain fork of a signal.",
			Why:     "The goroutine that hands signals out is waiting on a thread that isn't there.",
			Source:  "os/signal/signal_unix.go; runtime/sigqueue.go",
			Instead: "a blocked signal and sigtimedwait(2) or signalfd(2) by child.Syscall",
			busy:    "idle",
			Rare:    true,
		}, notified, wellWith(takeRaised)),
		{
			ID:      "handlers",
			Claim:   "A signal that the parent handles doesn't end the child of a plain fork, though nobody handles it there.",
			Why:     "The runtime's handler is copied, and keeps the signal for a goroutine that doesn't run.",
			Source:  "POSIX fork(); runtime/sigqueue.go: sigsend",
			Instead: "rawfork.Fork, whose child has the default actions",
			busy:    "idle",
			bad:     endedBySignal(forkCloneLiving),
			good:    endedBySignal(holdOne),
		},
		{
			ID:      "temp-repeats",
			Claim:   "os.CreateTemp makes the same names in the child of a plain fork as in the parent.",
			Why:     "They are of the runtime's generator, which is the thread's memory, and copied.",
			Source:  "os/tempfile.go; runtime/rand.go",
			Instead: "a name that has the pid in it, or is of getrandom(2) by child.Syscall",
			busy:    "idle",
			Rare:    true, // the child may hang
			bad:     nameRepeats,
			good:    numberRepeats(viaLibrary, drawKernel),
		},
		{
			ID:      "exec-busy",
			Claim:   "A program that was just written can't be run while a child lives: text file busy.",
			Why:     "The child has the descriptor that it was written by, close-on-exec or not.",
			Source:  "execve(2): ETXTBSY; golang/go#22315",
			Instead: "rawfork.Serve, or child.KeepOnly first of all",
			busy:    "idle",
			bad:     writtenAndRun(holdAll),
			good:    writtenAndRun(holdOne),
		},
		{
			ID:      "exit-skips",
			Claim:   "What a program does at its end is not done in a child: deferred functions, flushing.",
			Why:     "The child ends by _exit. What it does before is all that it does.",
			Source:  "_exit(2)",
			Instead: "child.Write before child.Exit",
			busy:    "idle",
			bad:     lastWords(deferredWords),
			good:    lastWords(writtenWords),
		},
		{
			ID:      "stdio-twice",
			Claim:   "What stands in a stream of C's stdio at the fork is written twice when the child flushes it, as exit does.",
			Why:     "The stream's buffer is memory, and copied.",
			Source:  "POSIX fork(); stdio(3)",
			Instead: "flushing before the fork, and _exit: child.Exit",
			busy:    "idle",
			bad:     streamInBoth(true),
			good:    streamInBoth(false),
		},
		{
			ID:      "malloc-ufork",
			Claim:   "C code that allocates memory in a child of _Fork, and so of rawfork.Fork, hangs when another thread of the parent was just allocating.",
			Why:     "That thread held the heap's lock at the fork, and isn't there to release it.",
			Source:  "POSIX _Fork(): async-signal-safe calls only; malloc(3)",
			Instead: "memory allocated before the fork",
			busy:    "idle",
			Rare:    true,
			bad:     allocated(posix.ByUFork, true),
			good:    allocated(posix.ByUFork, false),
		},
		{
			ID:      "malloc-clone",
			Claim:   "So it is in a child of a raw clone(2). In a child of fork() glibc's malloc works.",
			Why:     "Libc's fork takes malloc's locks before and has them free in the child. A system call knows of none.",
			Source:  "glibc: __libc_fork, __malloc_fork_lock_parent",
			Instead: "libc's fork() for C code, if it must allocate",
			busy:    "idle",
			Rare:    true,
			bad:     allocated(posix.ByClone, true),
			good:    allocated(posix.ByFork, true),
		},
		{
			ID:      "gc-copies",
			Claim:   "A collection in the parent costs memory while a child lives: it copies pages that nobody changes.",
			Why:     "Copy-on-write doesn't ask what is written: the collector's marks stand in the pages of small objects, and a write to one copies the page.",
			Source:  "runtime/mgcmark_greenteagc.go; fork(2)",
			Instead: "a child that lives shortly, debug.SetGCPercent(-1) as long as it lives, or package helper",
			busy:    "idle",
			Rare:    true, // before Go 1.26 the marks stand elsewhere
			bad:     copiedWhile(runtime.GC),
			good:    copiedWhile(func() {}),
		},
	}
}

// readAfterFork forks a child that reads from a pipe into which the parent writes
// then.
func readAfterFork(fork func(r *os.File, fd int) (int, error), limit time.Duration) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return "", os.NewSyscallError("pipe2", err)
		}
		defer unix.Close(pipe[1])
		r := os.NewFile(uintptr(pipe[0]), "pipe")
		defer r.Close()
		pid, err := fork(r, pipe[0])
		if err != nil {
			return "", err
		}
		if _, err := unix.Write(pipe[1], []byte("x")); err != nil {
			return "", os.NewSyscallError("write", err)
		}
		return ended(ctx, pid, limit)
	}
}

func forkReader(r *os.File, _ int) (int, error) {
	return forkPlain(2, func() { r.Read(make([]byte, 1)) })
}

//go:norace
func forkRawReader(_ *os.File, fd int) (int, error) {
	b := make([]byte, 1)
	pid, err := rawfork.Fork()
	if pid == 0 && err == nil {
		child.Read(fd, b)
		child.Exit(done)
	}
	return pid, err
}

// notified waits for a signal that os/signal is to tell of.
func notified() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGUSR2)
	unix.Kill(os.Getpid(), unix.SIGUSR2)
	<-told
}

// takeRaised raises a blocked signal and takes it.
//
//go:nosplit
//go:norace
func takeRaised() {
	set := uint64(1) << (unix.SIGUSR2 - 1)
	child.Syscall(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&set)), 0, unsafe.Sizeof(set), 0, 0)
	child.Kill(child.Getpid(), unix.SIGUSR2)
	sig, errno := child.Syscall(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&set)), 0, 0, unsafe.Sizeof(set), 0, 0)
	if errno != 0 || sig != uintptr(unix.SIGUSR2) {
		child.Exit(1)
	}
}

// endedBySignal has the parent handle a signal, and sends it to a child.
func endedBySignal(fork func(fd int) (int, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (how string, err error) {
		told := make(chan os.Signal, 1)
		signal.Notify(told, unix.SIGUSR1)
		defer signal.Stop(told)
		err = withChild(fork, func(pid, near int) error {
			if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
				return os.NewSyscallError("kill", err)
			}
			// It has the signal when it sees that the socket has ended.
			if err := unix.Shutdown(near, unix.SHUT_WR); err != nil {
				return os.NewSyscallError("shutdown", err)
			}
			how, err = ended(ctx, pid, limit)
			switch how {
			case "":
				how = "lived on"
			case fmt.Sprintf("wait status %#x", uint32(unix.SIGUSR1)):
				how = ""
			}
			return err
		})
		return how, err
	}
}

// forkCloneLiving forks by clone(2), whose child has the handlers too, and no stack check
// on its way, at which the parent could have asked it to give way to another goroutine.
//
//go:norace
func forkCloneLiving(fd int) (int, error) {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("clone", errno)
	}
	if pid == 0 {
		live(fd)
	}
	return int(pid), nil
}

// nameRepeats has child and parent each make a temporary file, in directories of
// their own.
func nameRepeats(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "rawfork-rules")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	var names [2]string // the parent's and the child's
	for i, sub := range []string{"parent", "child"} {
		names[i] = filepath.Join(dir, sub)
		if err := os.Mkdir(names[i], 0o700); err != nil {
			return "", err
		}
	}
	runtime.LockOSThread() // the generator is the thread's
	pid, err := forkPlain(2, func() { os.CreateTemp(names[1], "") })
	if err != nil {
		runtime.UnlockOSThread()
		return "", err
	}
	file, err := os.CreateTemp(names[0], "")
	runtime.UnlockOSThread()
	how, endErr := ended(ctx, pid, controlLimit)
	if err := errors.Join(err, endErr); err != nil {
		return "", err
	}
	file.Close()
	if _, err := os.Stat(filepath.Join(names[1], filepath.Base(file.Name()))); err == nil {
		return "same name", nil
	}
	return how, nil
}

// writtenAndRun writes a program, forks a child that lives on, closes the program and
// runs it.
func writtenAndRun(fork func(fd int) (int, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (how string, err error) {
		dir, err := os.MkdirTemp("", "rawfork-rules")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
		program, err := os.OpenFile(filepath.Join(dir, "program"), os.O_CREATE|os.O_WRONLY, 0o700)
		if err != nil {
			return "", err
		}
		_, err = program.WriteString("#!/bin/sh\nexit 0\n")
		if err == nil {
			err = withLivingChild(fork, func() error {
				if err := program.Close(); err != nil {
					return err
				}
				err := exec.CommandContext(ctx, program.Name()).Run()
				if errors.Is(err, syscall.ETXTBSY) {
					how, err = "text file busy", nil
				}
				return err
			})
		}
		program.Close()
		return how, err
	}
}

// withLivingChild forks a child that says when it is in place, calls f, and ends it.
func withLivingChild(fork func(fd int) (int, error), f func() error) error {
	return withChild(fork, func(int, int) error { return f() })
}

// withChild is withLivingChild, whose f gets the child's pid and the socket by which
// the child lives.
func withChild(fork func(fd int) (int, error), f func(pid, near int) error) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	pid, err := fork(pair[1])
	unix.Close(pair[1])
	if err != nil {
		return err
	}
	defer func() {
		unix.Kill(pid, unix.SIGKILL)
		rawfork.Wait(pid)
	}()
	if !pollIn(pair[0], limit) {
		return fmt.Errorf("child %d doesn't say that it is in place:\n%s", pid, watchdog.State(pid))
	}
	return f(pid, pair[0])
}

//go:norace
func holdAll(fd int) (int, error) {
	pid, err := rawfork.Fork()
	if pid == 0 && err == nil {
		live(fd)
	}
	return pid, err
}

func holdOne(fd int) (int, error) { return rawfork.Serve(fd, live) }

//go:nosplit
//go:norace
func live(fd int) {
	child.WriteString(fd, ".")
	child.Discard(fd)
	child.Exit(done)
}

// lastWords looks for what the child wrote at its end.
func lastWords(act func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		file, err := memoryFile("words")
		if err != nil {
			return "", err
		}
		defer file.Close()
		job.fd = int(file.Fd())
		if how, err := withStderr(ctx, viaLibrary, act); how != "" || err != nil {
			return how, err
		}
		words, err := contents(file)
		if words == "" {
			return "nothing written", err
		}
		return "", err
	}
}

//go:nosplit
//go:norace
func deferredWords() {
	defer writtenWords()
	child.Exit(done)
}

//go:nosplit
//go:norace
func writtenWords() { child.WriteString(job.fd, "last words") }

// streamInBoth has the parent, and maybe the child, flush one stream of C's.
func streamInBoth(childFlushes bool) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		file, err := memoryFile("stream")
		if err != nil {
			return "", err
		}
		defer file.Close()
		if err := posix.Stream(int(file.Fd()), childFlushes); err != nil {
			return "", err
		}
		written, err := contents(file)
		if n := strings.Count(written, "line"); n != 1 {
			return fmt.Sprintf("written %d times", n), err
		}
		return "", err
	}
}

// allocated has a child of a C program allocate memory, or use what there was before.
func allocated(how int, allocate bool) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		pid, err := posix.Malloc(how, allocate, done)
		if err != nil {
			return "", os.NewSyscallError("fork", err)
		}
		return ended(ctx, pid, limit)
	}
}

// A node is an object as a heap is full of: small, with a pointer.
type node struct {
	next *node
	_    [4]uintptr
}

// copiedWhile tells how much of a list the parent copies, page by page, by what it does
// while it shares the list with a child.
func copiedWhile(meanwhile func()) func(context.Context) (string, error) {
	return func(context.Context) (how string, err error) {
		defer debug.SetGCPercent(debug.SetGCPercent(-1)) // none but ours
		const length = 200_000
		var list *node
		for range length {
			list = &node{next: list}
		}
		runtime.GC()
		err = withLivingChild(holdOne, func() error {
			before, err := pageFaults()
			if err != nil {
				return err
			}
			meanwhile()
			after, err := pageFaults()
			size := length * int64(unsafe.Sizeof(node{}))
			if tenths := 10 * (after - before) * int64(page) / size; tenths > 0 {
				how = fmt.Sprintf("%d0%% copied", min(tenths, 10))
			}
			return err
		})
		runtime.KeepAlive(list)
		return how, err
	}
}

// pageFaults is how many pages this program has got, or copied, without a disk.
func pageFaults() (int64, error) {
	var usage unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return int64(usage.Minflt), os.NewSyscallError("getrusage", err)
}
