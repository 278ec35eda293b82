//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/forkall"
)

// forkallCaveats are what goes wrong in a child in which all goroutines live on.
// Where package forkall isn't supported they can't be shown.
func forkallCaveats() []Caveat { return append(copiedCaveats(), uncopiedCaveats()...) }

// copiedCaveats are those of what parent and child both have.
func copiedCaveats() []Caveat {
	return []Caveat{
		{
			ID:      "forkall-done-twice",
			Claim:   "What a goroutine or timer of the parent does, its copy in a child of forkall does as well.",
			Why:     "All goroutines exist twice, and go on where they were.",
			Source:  "package forkall",
			Instead: "asking forkall.Generation before what must be done once, or a lock taken by a hook of forkall.AtFork",
			busy:    "idle",
			Rare:    true, // on a loaded machine the timer may fire before the fork
			bad:     func(ctx context.Context) (string, error) { return firedInBoth(ctx, false) },
			good:    func(ctx context.Context) (string, error) { return firedInBoth(ctx, true) },
		},
		{
			ID:      "forkall-accept",
			Claim:   "A child of forkall that keeps a listener takes connections that were meant for the parent.",
			Why:     "Both processes wait at one queue, and the first to come takes from it.",
			Source:  "accept(2)",
			Instead: "forkall.Options without KeepListeners, which is the default",
			busy:    "idle",
			bad: func(ctx context.Context) (string, error) {
				return acceptedBy(ctx, forkall.Options{KeepListeners: true})
			},
			good: func(ctx context.Context) (string, error) { return acceptedBy(ctx, forkall.Options{}) },
		},
		{
			ID:      "forkall-connection",
			Claim:   "A child of forkall that keeps a connection reads what was meant for the parent.",
			Why:     "Both hold the same socket, and each byte is read once.",
			Source:  "POSIX fork(): open file descriptions are shared",
			Instead: "forkall.Options without KeepConnections, which is the default",
			busy:    "idle",
			bad: func(ctx context.Context) (string, error) {
				return readBy(ctx, forkall.Options{KeepConnections: true}, loopback)
			},
			good: func(ctx context.Context) (string, error) { return readBy(ctx, forkall.Options{}, loopback) },
		},
		{
			ID:     "forkall-pipe",
			Claim:  "A child of forkall reads from the parent's pipes and Unix sockets, whatever its options.",
			Why:    "They may be how the two talk to each other, so they are never cut off.",
			Source: "POSIX fork(): open file descriptions are shared",
			busy:   "idle",
			bad:    func(ctx context.Context) (string, error) { return readBy(ctx, forkall.Options{}, ownPipe) },
		},
		{
			ID:      "forkall-wait",
			Claim:   "In a child of forkall a wait for a child of the parent fails, by exec.Cmd, os.Process or pidfd.",
			Why:     "A process can wait for its own children only: ECHILD.",
			Source:  "wait(2)",
			Instead: "asking forkall.Generation when a wait fails",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return waitedFor(ctx, false) },
			good:    func(ctx context.Context) (string, error) { return waitedFor(ctx, true) },
		},
		{
			ID:      "forkall-random",
			Claim:   "Parent and child of forkall draw the same numbers from a generator of math/rand.",
			Why:     "Its state is memory, and copied.",
			Source:  "POSIX fork()",
			Instead: "crypto/rand, or a seed of its own for the child",
			busy:    "idle",
			bad: func(ctx context.Context) (string, error) {
				generator := rand.New(rand.NewPCG(1, 2))
				return drawnTwice(ctx, generator.Uint64)
			},
			good: func(ctx context.Context) (string, error) { return drawnTwice(ctx, kernelNumber) },
		},
		{
			ID:      "forkall-pid",
			Claim:   "A pid that a library has remembered is the parent's in a child of forkall.",
			Why:     "It is memory, and copied; a log or a lock file then names the wrong process.",
			Source:  "POSIX fork()",
			Instead: "os.Getpid each time, or a hook of forkall.AtFork that asks anew",
			busy:    "idle",
			bad: func(ctx context.Context) (string, error) {
				remembered := os.Getpid()
				return knownAs(ctx, func() int { return remembered })
			},
			good: func(ctx context.Context) (string, error) { return knownAs(ctx, os.Getpid) },
		},
		{
			ID:      "forkall-offset",
			Claim:   "What a child of forkall writes to a file of the parent's moves the parent's place in it.",
			Why:     "The offset belongs to the open file description, which both share.",
			Source:  "POSIX fork(): open file descriptions are shared",
			Instead: "a file that the child opens for itself",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return placeMoved(ctx, false) },
			good:    func(ctx context.Context) (string, error) { return placeMoved(ctx, true) },
		},
		{
			ID:      "forkall-flock",
			Claim:   "A child of forkall that unlocks a file unlocks it for the parent.",
			Why:     "A lock of flock(2) belongs to the open file description, which both share.",
			Source:  "flock(2)",
			Instead: "a file that the child opens for itself",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return lockGone(ctx, false) },
			good:    func(ctx context.Context) (string, error) { return lockGone(ctx, true) },
		},
		{
			ID:      "forkall-timerfd",
			Claim:   "Eventfds and timerfds stay shared: a child of forkall takes the parent's events.",
			Why:     "Only epoll sets and the runtime's own eventfd are made anew in the child.",
			Source:  "eventfd(2), timerfd_create(2)",
			Instead: "making them anew in a hook of forkall.AtFork",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return eventTaken(ctx, false) },
			good:    func(ctx context.Context) (string, error) { return eventTaken(ctx, true) },
		},
		{
			ID:      "forkall-epoll",
			Claim:   "An epoll set that is open under two numbers is two sets in a child of forkall.",
			Why:     "Each number gets a set of its own, with what was watched: what is added to one then isn't in the other.",
			Source:  "package forkall: proc_pid_fdinfo(5) doesn't say which numbers are of one set",
			Instead: "one number for each set",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return watchedBy(ctx, true) },
			good:    func(ctx context.Context) (string, error) { return watchedBy(ctx, false) },
		},
		{
			ID:      "forkall-kill",
			Claim:   "An os.Process of the parent's, and its pidfd, are good for signals in a child of forkall: Kill there kills the parent's program.",
			Why:     "A pidfd belongs to who holds it, and a pid to nobody. So does the copy of exec.CommandContext when its context ends.",
			Source:  "pidfd_send_signal(2), kill(2)",
			Instead: "asking forkall.Generation before a signal",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return killedBy(ctx, false) },
			good:    func(ctx context.Context) (string, error) { return killedBy(ctx, true) },
		},
		{
			ID:      "forkall-test",
			Claim:   "A test that runs in parallel to one that forks by forkall comes to its end in that child as well, and cleans up there what it still uses in the parent.",
			Why:     "Its goroutine is copied, with its deferred functions and cleanups: here a temporary directory goes.",
			Source:  "package forkall",
			Instead: "a process of its own for the test that forks, or no tests in parallel to it; examples/forkall-tests has them wait in the child for ever",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return cleanedUp(ctx, true) },
			good:    func(ctx context.Context) (string, error) { return cleanedUp(ctx, false) },
		},
	}
}

// forkallTurn is held while a child is forked; in the child it is held for ever, so
// that copies of other goroutines don't fork as well.
var forkallTurn sync.Mutex

// inForkallChild has a child run act and exit with the status done when act returns
// true, and tells how it ended; otherwise says what act's false means.
func inForkallChild(ctx context.Context, o forkall.Options, act func() bool, otherwise string) (string, error) {
	forkallTurn.Lock()
	process, err := o.Run(func() int {
		if act() {
			return done
		}
		return otherwiseStatus
	})
	forkallTurn.Unlock()
	if err != nil {
		return "", err
	}
	defer process.Release()
	how, err := ended(ctx, process.Pid, limit)
	if how == fmt.Sprintf("wait status %#x", otherwiseStatus<<8) {
		how = otherwise
	}
	return how, err
}

// otherwiseStatus is that of a child in which it went otherwise.
const otherwiseStatus = 8

// firedInBoth forks with a timer pending, whose function writes to a file; with
// care only in the process that made it.
func firedInBoth(ctx context.Context, care bool) (string, error) {
	file, err := memoryFile("timer")
	if err != nil {
		return "", err
	}
	defer file.Close()
	own := forkall.Generation()
	fired := make(chan error, 1)
	time.AfterFunc(pending, func() {
		var err error
		if !care || forkall.Generation() == own {
			_, err = file.WriteString(".")
		}
		fired <- err
	})
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool { return <-fired == nil }, "the timer failed")
	if err := errors.Join(err, <-fired); err != nil || how != "" {
		return how, err
	}
	written, err := contents(file)
	if n := len(written); n != 1 {
		return fmt.Sprintf("done %d times", n), err
	}
	return "", err
}

// acceptedBy has a child accept for a while, and the parent after it.
func acceptedBy(ctx context.Context, o forkall.Options) (string, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", err
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String()) // the connection waits to be accepted
	if err != nil {
		return "", err
	}
	defer client.Close()
	return inForkallChild(ctx, o, func() bool {
		listener.SetDeadline(time.Now().Add(pending))
		_, err := listener.Accept()
		return errors.Is(err, os.ErrDeadlineExceeded)
	}, "accepted by the child")
}

// readBy has a child read what lies ready for the parent, and then the parent.
func readBy(ctx context.Context, o forkall.Options, connect func() (io.ReadCloser, io.WriteCloser, error)) (string, error) {
	r, w, err := connect()
	if err != nil {
		return "", err
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.Write([]byte{1}); err != nil {
		return "", err
	}
	how, err := inForkallChild(ctx, o, func() bool {
		n, _ := r.Read(make([]byte, 1))
		return n == 0
	}, "read by the child")
	if how != "" || err != nil {
		return how, err
	}
	_, err = r.Read(make([]byte, 1))
	return "", err
}

func loopback() (io.ReadCloser, io.WriteCloser, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	far, err := listener.Accept()
	if err != nil {
		near.Close()
		return nil, nil, err
	}
	return near, far, nil
}

func ownPipe() (io.ReadCloser, io.WriteCloser, error) { return os.Pipe() }

// waitedFor has a child wait for a program of the parent's; with care it finds out
// that it is the copy.
func waitedFor(ctx context.Context, care bool) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/true")
	if err := cmd.Start(); err != nil {
		return "", err
	}
	own := forkall.Generation()
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		_, err := cmd.Process.Wait()
		return err == nil || care && forkall.Generation() != own
	}, "no child of this process")
	return how, errors.Join(err, cmd.Wait())
}

// drawnTwice has a child and then the parent draw a number.
func drawnTwice(ctx context.Context, draw func() uint64) (string, error) {
	file, err := memoryFile("number")
	if err != nil {
		return "", err
	}
	defer file.Close()
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		return binary.Write(file, binary.LittleEndian, draw()) == nil
	}, "not written")
	if how != "" || err != nil {
		return how, err
	}
	var its uint64
	err = binary.Read(io.NewSectionReader(file, 0, 8), binary.LittleEndian, &its)
	if err == nil && its == draw() {
		how = "same number"
	}
	return how, err
}

func kernelNumber() uint64 {
	var b [8]byte
	crand.Read(b[:]) // never fails, since Go 1.24
	return binary.LittleEndian.Uint64(b[:])
}

// knownAs has a child compare a pid with its own.
func knownAs(ctx context.Context, pid func() int) (string, error) {
	return inForkallChild(ctx, forkall.Options{}, func() bool { return pid() == os.Getpid() }, "the parent's pid")
}

// placeMoved has a child write to a file, or to one that it opens for itself, and looks
// where the parent is in it.
func placeMoved(ctx context.Context, care bool) (string, error) {
	file, err := memoryFile("place")
	if err != nil {
		return "", err
	}
	defer file.Close()
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		to := file
		if care {
			var err error
			if to, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), os.O_RDWR, 0); err != nil {
				return false
			}
		}
		_, err := to.WriteString("from the child")
		return err == nil
	}, "not written")
	if how != "" || err != nil {
		return how, err
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if at != 0 {
		how = "moved by the child"
	}
	return how, err
}

// lockGone locks a file, has a child unlock what it has, or open the file for itself
// and try, and looks whether the lock is still there.
func lockGone(ctx context.Context, care bool) (string, error) {
	file, err := memoryFile("lock")
	if err != nil {
		return "", err
	}
	defer file.Close()
	again := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return "", os.NewSyscallError("flock", err)
	}
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		if !care {
			return unix.Flock(int(file.Fd()), unix.LOCK_UN) == nil
		}
		own, err := os.OpenFile(again, os.O_RDWR, 0)
		return err == nil && unix.Flock(int(own.Fd()), unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK
	}, "flock failed")
	if how != "" || err != nil {
		return how, err
	}
	other, err := os.OpenFile(again, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer other.Close()
	if unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return "the parent's lock is gone", nil
	}
	return "", nil
}

// eventTaken has a child read an eventfd, or one of its own, and looks whether the
// parent's event is still there.
func eventTaken(ctx context.Context, care bool) (string, error) {
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return "", os.NewSyscallError("eventfd", err)
	}
	defer unix.Close(fd)
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		if care {
			if own, err := unix.Eventfd(1, unix.EFD_NONBLOCK); err != nil || unix.Dup3(own, fd, unix.O_CLOEXEC) != nil {
				return false
			}
		}
		n, _ := unix.Read(fd, make([]byte, 8))
		return n == 8
	}, "no event in the child")
	if how != "" || err != nil {
		return how, err
	}
	if n, _ := unix.Read(fd, make([]byte, 8)); n != 8 {
		return "event taken by the child", nil
	}
	return "", nil
}

// watchedBy has a child add what is ready to an epoll set, by a second number of it or
// by the same, and ask the set.
func watchedBy(ctx context.Context, twice bool) (string, error) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return "", os.NewSyscallError("epoll_create1", err)
	}
	defer unix.Close(set)
	number := set
	if twice {
		if number, err = unix.FcntlInt(uintptr(set), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return "", os.NewSyscallError("fcntl", err)
		}
		defer unix.Close(number)
	}
	ready, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
	if err != nil {
		return "", os.NewSyscallError("eventfd", err)
	}
	defer unix.Close(ready)
	return inForkallChild(ctx, forkall.Options{}, func() bool {
		if unix.EpollCtl(number, unix.EPOLL_CTL_ADD, ready, &unix.EpollEvent{Events: unix.EPOLLIN}) != nil {
			return false
		}
		n, _ := unix.EpollWait(set, make([]unix.EpollEvent, 1), 0)
		return n == 1
	}, "not in the other")
}

// killedBy has a child kill a program of the parent's; with care it finds out that it is
// the copy.
func killedBy(ctx context.Context, care bool) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/cat")
	stdin, err := cmd.StdinPipe() // by whose end it ends
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	own := forkall.Generation()
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		return care && forkall.Generation() != own || cmd.Process.Kill() == nil
	}, "not killed")
	stdin.Close()
	waitErr := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(waitErr, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL && ctx.Err() == nil {
		how, waitErr = "killed by the child", nil
	}
	return how, errors.Join(err, waitErr)
}

// cleanedUp forks beside a test that has a temporary directory, or before it, and gives
// the copy of that test the time to end.
func cleanedUp(ctx context.Context, parallel bool) (string, error) {
	dir, err := os.MkdirTemp("", "rawfork-test")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	end, cleaned := make(chan bool), make(chan error, 1)
	test := func() {
		<-end
		cleaned <- os.RemoveAll(dir)
	}
	if parallel {
		go test()
	}
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		close(end)
		return !parallel || <-cleaned == nil
	}, "not removed")
	if !parallel {
		go test()
	}
	if _, statErr := os.Stat(dir); how == "" && errors.Is(statErr, os.ErrNotExist) {
		how = "removed by the child"
	}
	close(end)
	return how, errors.Join(err, <-cleaned)
}
