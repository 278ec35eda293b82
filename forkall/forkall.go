package forkall

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// ExitUnmade is the exit status of a child that could not be made whole: the
// kernel refused it one of its threads or descriptors, say at a limit on processes.
// No Go code has run in it. (It is EX_OSERR of sysexits(3).)
const ExitUnmade = 71

// Options say what a child keeps. The zero value is the careful one.
//
// A network socket is one of IPv4 or IPv6. What isn't kept is cut off: under its
// number the child has a socket that leads nowhere. A goroutine that reads from a
// connection finds its end there, one that writes gets EPIPE, one that accepts or
// waits for a datagram waits for ever. The parent and its peers notice nothing.
type Options struct {
	// KeepListeners leaves listening sockets to the child: the copies of the
	// goroutines that accept compete for connections with those in the parent.
	KeepListeners bool
	// KeepConnections leaves connections and datagram sockets to the child: what
	// comes is read by one process or the other.
	KeepConnections bool
}

// Fork is Options{}.Fork().
func Fork() (pid int, err error) { return Options{}.Fork() }

// Run is Options{}.Run(f).
func Run(f func() int) (*os.Process, error) { return Options{}.Run(f) }

// ErrCopied is what a call of Fork returns in a child when it was waiting for another
// call to end, which made that child. Would it go on, each of ten goroutines that fork
// at the same time would fork once more in each child.
var ErrCopied = errors.New("forkall: the copy of a call that waited for its turn")

// forking is held from the first hook of a fork to the last, in both processes.
var forking sync.Mutex

// Fork wraps fork(2) for all threads: it returns twice, with the child's pid in
// the parent and with 0 in the child. On failure it returns an error in the parent
// only, there is no child, and all threads go on. errors.Is finds
// [errors.ErrUnsupported] when this kernel, libc or Go runtime is not understood;
// EAGAIN when a thread could not be held within ten seconds or at a limit on
// processes; ENOMEM and others of fork(2).
//
// The child is a copy of the process with all of its goroutines, threads and
// descriptors, but for what o cuts off. Goroutines other than the caller's may go
// on in the child before Fork returns there: see [Generation]. Signals that were
// pending are not. Deferred functions of the caller run in both.
//
// All threads of the parent stand still until the kernel has made the copy, whose
// cost grows with the resident memory and the number of threads; see [Stats]. C
// code that is sleeping or waiting may see EINTR, as from any signal that is
// caught.
//
// Whoever forks must reap: see rawfork.Wait.
//
// Precondition: none as to the thread. The caller must not hold
// [syscall.ForkLock], nor be called by a hook of [AtFork].
func (o Options) Fork() (pid int, err error) {
	own := Generation()
	forking.Lock()
	defer forking.Unlock()
	if Generation() != own {
		return -1, ErrCopied
	}
	hooks := registered()
	hooks.prepare()
	pid, err = o.forkLocked()
	if pid == 0 && err == nil {
		hooks.child()
	} else {
		hooks.parent()
	}
	return pid, err
}

func (o Options) forkLocked() (int, error) {
	// No descriptor is open that isn't close-on-exec yet, and no child of os/exec
	// shares our memory.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	pid, stats, err := o.fork()
	if err != nil {
		return -1, fmt.Errorf("forkall: %w", err)
	}
	if pid != 0 {
		last.Store(&stats)
	}
	return pid, nil
}

// Run forks, and has the child run f on a goroutine of its own and exit with its
// result, as by [os.Exit]. A panic in f ends the child as it ends any program; so
// does [runtime.Goexit] with status 2. In the child the calling goroutine never
// returns, nor do copies of others that wait to run a child.
//
// The caller owns the process and must wait for it, by its Wait method. Errors are
// those of [Options.Fork].
func (o Options) Run(f func() int) (*os.Process, error) {
	pid, err := o.Fork()
	switch {
	case err == ErrCopied:
		select {}
	case err != nil:
		return nil, err
	case pid == 0:
		go exitWith(f)
		select {}
	}
	return os.FindProcess(pid)
}

// errGoexit stands in for what recover doesn't return.
var errGoexit = errors.New("forkall: runtime.Goexit in the function of Run")

// exitWith ends the process with the result of f.
func exitWith(f func() int) {
	var reason any = errGoexit
	defer func() {
		if r := recover(); r != nil {
			panic(r) // the traceback still has the frames of the first panic
		}
		if reason != nil {
			fmt.Fprintln(os.Stderr, reason)
			os.Exit(2)
		}
	}()
	code := f()
	reason = nil
	os.Exit(code)
}

// Generation tells how many forks of this package lie between this process and
// the program that was started: 0 there, 1 in its child, 2 in a child of that. It
// changes before any goroutine goes on in a child.
func Generation() int { return generation() }

// InChild tells whether this process was forked by this package.
func InChild() bool { return Generation() > 0 }

// Stats are what a fork did and what it took of the parent.
type Stats struct {
	Hold    time.Duration // until all threads were held, from the first signal
	Read    time.Duration // to read epoll sets and timers
	Copy    time.Duration // of fork(2) itself
	Stopped time.Duration // from the first signal until all could go on

	Threads     int // that were held, the caller's included
	Descriptors int // that were open
	Watched     int // registrations in epoll sets
	Tries       int // 1, and one more for each time that a thread was not ready
}
