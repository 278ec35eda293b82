//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// pollerTimer is why whoever waits for children of a plain fork takes the time from the
// kernel.
var pollerTimer = Caveat{
	ID:      "poller-timer",
	Claim:   "While a child of a plain fork waits at the runtime's poller, timers of the parent don't fire: none, for as long as nothing else wakes the parent.",
	Why:     "With the parent's eventfd the child reads the message by which a thread of the parent wakes the one that waits for the next timer. The runtime sends no other as long as it believes that one to be under way. Here the child does by system calls what its own poller does.",
	Source:  "runtime/netpoll_epoll.go: netpollBreak, netpoll; eventfd(2)",
	Instead: "rawfork.Fork, whose child waits by poll(2) and never looks at the poller",
	busy:    "idle",
	bad:     timersFire(forkThief, careless),
	good:    timersFire(holdOne, careful),
}

var pollerData = Caveat{
	ID:      "poller-data",
	Claim:   "A child of a plain fork that waits at the runtime's poller takes events of the parent: a goroutine there isn't told of its data.",
	Why:     "Both wait at one epoll instance, and an edge is told to one of them.",
	Source:  "runtime/netpoll_epoll.go: netpollopen; epoll(7)",
	Instead: "rawfork.Fork, whose child waits by poll(2) and never looks at the poller",
	busy:    "idle",
	bad:     dataComes(forkThief, careless),
	good:    dataComes(holdOne, careful),
}

// A patience is how long a try goes on, round after round, while all goes well, and how
// long the parent waits in a round: what it hasn't heard of by then, it doesn't hear of.
type patience struct{ try, round time.Duration }

var (
	careless = patience{5 * time.Second, 500 * time.Millisecond} // the child may be too late, or have no processor
	careful  = patience{100 * time.Millisecond, limit}
)

// timersFire looks whether timers fire while a child lives.
func timersFire(fork func(fd int) (int, error), p patience) func(context.Context) (string, error) {
	return func(context.Context) (how string, err error) {
		var answers [2]int
		if err := unix.Pipe2(answers[:], unix.O_CLOEXEC); err != nil {
			return "", os.NewSyscallError("pipe2", err)
		}
		defer unix.Close(answers[0])
		defer unix.Close(answers[1])
		// A thread waits at the poller only if a goroutine does.
		requests, client, err := os.Pipe()
		if err != nil {
			return "", err
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			requests.Read(make([]byte, 1))
			requests.Close()
		}()
		defer func() {
			client.Close()
			<-ended
		}()
		if err := findPoller(); err != nil {
			return "", err
		}
		err = withLivingChild(fork, func() error {
			for begun := time.Now(); time.Since(begun) < p.try; {
				time.AfterFunc(time.Millisecond, func() { unix.Write(answers[1], []byte{0}) })
				if !pollIn(answers[0], p.round) {
					how = "a timer is late"
					return nil
				}
				if _, err := unix.Read(answers[0], make([]byte, 1)); err != nil {
					return os.NewSyscallError("read", err)
				}
			}
			return nil
		})
		// The message once more, so that the next try begins well: the child may have
		// read one without a timer being late.
		one := uint64(1)
		if _, writeErr := unix.Write(job.wakeup, bytesOf(&one)); writeErr != nil {
			return how, errors.Join(err, os.NewSyscallError("write", writeErr))
		}
		if how != "" && !pollIn(answers[0], limit) {
			err = errors.Join(err, errors.New("the timer doesn't fire after the message"))
		}
		return how, err
	}
}

// dataComes looks whether a goroutine is told of data while a child lives.
func dataComes(fork func(fd int) (int, error), p patience) func(context.Context) (string, error) {
	return func(context.Context) (how string, err error) {
		requests, client, err := os.Pipe()
		if err != nil {
			return "", err
		}
		defer requests.Close()
		write := int(client.Fd()) // and with that, blocking
		var answers [2]int
		if err := unix.Pipe2(answers[:], unix.O_CLOEXEC); err != nil {
			client.Close()
			return "", os.NewSyscallError("pipe2", err)
		}
		defer unix.Close(answers[0])
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer unix.Close(answers[1])
			b := make([]byte, 1)
			for n, _ := requests.Read(b); n > 0; n, _ = requests.Read(b) {
				unix.Write(answers[1], b)
			}
		}()
		if err = findPoller(); err == nil {
			err = withLivingChild(fork, func() error {
				for begun := time.Now(); time.Since(begun) < p.try; {
					if _, err := unix.Write(write, []byte{0}); err != nil {
						return os.NewSyscallError("write", err)
					}
					if !pollIn(answers[0], p.round) {
						how = "the data is not told of"
						return nil
					}
					if _, err := unix.Read(answers[0], make([]byte, 1)); err != nil {
						return os.NewSyscallError("read", err)
					}
				}
				return nil
			})
		}
		client.Close() // which is another edge
		if !pollIn(answers[0], limit) {
			return how, errors.Join(err, errors.New("the goroutine doesn't see the end of the pipe"))
		}
		<-ended
		return how, err
	}
}

// findPoller finds the runtime's epoll instance, and the eventfd that wakes its waiter.
func findPoller() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		if name != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + entry.Name())
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(info)) {
			var fd int
			if _, err := fmt.Sscanf(line, "tfd: %d", &fd); err != nil {
				continue
			}
			if name, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd)); name == "anon_inode:[eventfd]" {
				job.wakeup = fd
				_, err := fmt.Sscan(entry.Name(), &job.epoll)
				return err
			}
		}
	}
	return errors.New("the runtime's poller is not among the open files")
}

//go:norace
func forkThief(fd int) (int, error) {
	job.parent[0] = child.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	pid, err := rawfork.Fork()
	if pid == 0 && err == nil {
		child.KeepOnly(fd, job.epoll, job.wakeup)
		child.WriteString(fd, ".")
		for {
			pollAsRuntime()
			if ended, _ := child.Poll(job.parent[:], 0); ended != 0 {
				child.Exit(done)
			}
		}
	}
	return pid, err
}

// pollAsRuntime waits at the poller for a millisecond as a thread of the runtime does
// that has nothing to run, and reads the message to it.
//
//go:nosplit
//go:norace
func pollAsRuntime() {
	n, errno := child.Syscall(unix.SYS_EPOLL_PWAIT, uintptr(job.epoll), uintptr(unsafe.Pointer(&job.events)),
		uintptr(len(job.events)), 1, 0, 0)
	if errno == 0 && n > 0 {
		child.Syscall(unix.SYS_READ, uintptr(job.wakeup), uintptr(unsafe.Pointer(&job.number)), 8, 0, 0, 0)
	}
}
