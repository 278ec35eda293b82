//go:build cgo && (amd64 || arm64)

package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"rawfork/internal/rawcall"
)

// serverState is what a Server has beyond its fields.
type serverState struct {
	once sync.Once
	*work
}

// work is the loop, and what it shares with the server's callers. All of it lies on one
// page of 4 kB: Go's allocator puts what is larger than 3,456 bytes, and 4,096 at most
// with a word of its own, at the beginning of one.
type work struct {
	done chan struct{} // closed when nothing is accepted and no child is left

	mu       sync.Mutex
	started  bool
	stopping bool // no more connections
	ending   bool // the children are to end, too
	wake     int  // the loop's eventfd, -1 before and after
	listener net.Listener
	counts   Counts // without Exits
	exits    []exitCount
	common   [4]exitCount // the first of exits

	loop loop
}

// Neither of the two is negative.
const (
	_ = unsafe.Sizeof(work{}) - 3456
	_ = 4096 - 8 - unsafe.Sizeof(work{})
)

// exitCount is an entry of Counts.Exits. There are few, and so they lie on the page that
// the loop writes to anyway.
type exitCount struct {
	status syscall.WaitStatus
	n      int
}

// init makes what both Serve and Shutdown need.
func (s *Server) init() {
	s.state.once.Do(func() {
		s.state.work = &work{done: make(chan struct{})}
		s.state.wake = -1
		s.state.exits = s.state.common[:0]
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		if s.Grace == 0 {
			s.Grace = 5 * time.Second
		}
	})
}

// Serve accepts connections until Shutdown is called, and then returns
// ErrServerClosed. Another error is one that is known at the start: EINVAL for a
// field, a handler that can't work, a listener whose connections no child can have,
// or one that is closed; or the listener's. Children live on then; Shutdown waits for
// them, and ends them.
//
// Serve accepts by accept4(2) of its own, from a duplicate of the listener's
// descriptor: an Accept method that wraps another one isn't called. When somebody else
// closes the listener, Serve finds that at the next connection, doesn't serve it, and
// returns [net.ErrClosed]. Connections of TCP have no delay and are kept alive, as
// those of package net.
//
// When there is no child to be had for a connection, for want of processes, memory or
// descriptors, Serve keeps it, waits, and tries again, up to ten seconds; then the
// connection is dropped. It waits in the same way when nothing can be accepted.
//
// Ownership: the listener is closed by Shutdown, and stays the caller's when Serve
// returns another error.
func (s *Server) Serve(listener net.Listener) error {
	s.init()
	start, err := s.check(listener)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	st := &s.state
	st.mu.Lock()
	if st.started {
		st.mu.Unlock()
		return fmt.Errorf("serve: the server was started before: %w", syscall.EINVAL)
	}
	if st.stopping {
		st.mu.Unlock()
		return ErrServerClosed
	}
	l, err := newLoop(s, listener, start)
	if err != nil {
		st.mu.Unlock()
		return fmt.Errorf("serve: %w", err)
	}
	st.started, st.listener, st.wake = true, listener, l.wake
	st.mu.Unlock()
	go func() {
		if s.EndWithServer {
			// The kernel kills the children when the thread that forked them ends. This
			// one stays until they are all gone.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		l.run()
	}()
	return <-l.result
}

// Shutdown stops accepting, closes the listener, and waits until all children have
// ended. When ctx is done first, they are sent SIGTERM, and Grace later SIGKILL;
// Shutdown then returns ctx's error, with no child left. Connections that the
// listener's queue still holds are reset by the kernel. It may be called at any time
// and more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	st := &s.state
	listener := s.set(&st.stopping)
	if listener == nil { // not started, and not to be any more
		return nil
	}
	listener.Close() // first, so that nobody connects when Serve has returned
	s.wake()
	select {
	case <-st.done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-st.done:
		return nil
	default:
	}
	s.set(&st.ending)
	s.wake()
	<-st.done // SIGKILL sees to it
	return fmt.Errorf("shutdown: %w", context.Cause(ctx))
}

// set sets what the loop is to know, and returns the listener of one that was started.
func (s *Server) set(what *bool) net.Listener {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	*what = true
	return s.state.listener
}

// wake has the loop look at what was set.
func (s *Server) wake() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if s.state.wake >= 0 {
		rawcall.Add(s.state.wake)
	}
}

// Counts returns what was counted so far.
func (s *Server) Counts() Counts {
	s.init()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	counts := s.state.counts
	counts.Exits = make(map[syscall.WaitStatus]int)
	for _, e := range s.state.exits {
		counts.Exits[e.status] = e.n
	}
	return counts
}

// countExit counts a child's end. The lock is held.
func (st *serverState) countExit(status syscall.WaitStatus) {
	for i := range st.exits {
		if st.exits[i].status == status {
			st.exits[i].n++
			return
		}
	}
	st.exits = append(st.exits, exitCount{status, 1})
}
