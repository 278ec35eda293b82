//go:build cgo && amd64

package forkall

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// last is what the last fork did.
var last atomic.Pointer[Stats]

// LastFork tells what the last successful fork of this process did. In a child
// that has not forked it is the zero value, or what its parent's fork before its
// own did.
func LastFork() Stats {
	if s := last.Load(); s != nil {
		return *s
	}
	return Stats{}
}

// startPoller has the runtime make its poller, which is looked for.
var startPoller = sync.OnceValue(func() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	return errors.Join(r.Close(), w.Close())
})

// firstLarge is the first thread id that the kernel gives when it begins anew.
const firstLarge = 300

// look is for the first fork in a young pid namespace, as a container is one: an id that
// is a small number stands in a runtime.m several times, as a counter, say. So other
// threads look, until one has an id that is found once. If none does the fork says why.
var look = sync.OnceFunc(func() {
	if tid := unix.Gettid(); tid <= 0 || tid >= firstLarge {
		return // below 1 is none: a filter of system calls lies
	}
	end := make(chan bool)
	defer close(end)
	for range 64 {
		looked := make(chan syscall.Errno)
		go func() {
			runtime.LockOSThread() // so that the next has another thread
			defer runtime.UnlockOSThread()
			looked <- clook()
			<-end
		}()
		if <-looked != syscall.ENOSYS {
			return
		}
	}
})

// fork forks, with ForkLock held.
func (o Options) fork() (int, Stats, error) {
	if err := startPoller(); err != nil {
		return -1, Stats{}, err
	}
	look()
	cut, err := o.makeCut()
	if err != nil {
		return -1, Stats{}, err
	}
	defer cut.close()
	pid, errno, why, stats := cforkall(cut.listener, cut.stream, cut.datagram)
	switch {
	case errno == 0:
		return pid, stats, nil
	case errno == syscall.ENOSYS && why != "":
		return -1, stats, fmt.Errorf("%s: %w", why, errors.ErrUnsupported)
	case why != "":
		return -1, stats, fmt.Errorf("%s: %w", why, errno)
	}
	return -1, stats, os.NewSyscallError("fork", errno)
}
