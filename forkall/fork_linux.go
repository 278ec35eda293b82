//go:build cgo && amd64

package forkall

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
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

// fork forks, with ForkLock held.
func (o Options) fork() (int, Stats, error) {
	if err := startPoller(); err != nil {
		return -1, Stats{}, err
	}
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
