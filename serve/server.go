package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"rawfork/reap"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("the server is shut down")

var errNoFile = errors.ErrUnsupported

// Server serves each connection of a listener in a child of its own. The fields are
// set before Serve and not changed after. A Server serves once.
type Server struct {
	Handler Handler

	// MaxChildren is how many children there may be at once, at least 1. When there
	// are so many, further clients wait in the listener's queue; with Refuse their
	// connections are accepted and closed at once.
	MaxChildren int
	Refuse      bool

	// Deadline is how long a child may serve. Then its process group gets SIGTERM,
	// and Grace later SIGKILL. 0 is for ever.
	Deadline time.Duration

	// Grace is the time between SIGTERM and SIGKILL; 0 is 5 seconds.
	Grace time.Duration

	// EndWithServer has the kernel kill the children when this process ends, however
	// it ends. Without it they serve their clients to the end, as orphans. It does
	// nothing for children of [Go], which have helper.Options.EndWithParent.
	EndWithServer bool

	// Log gets what goes wrong, and each child's start and end at level Debug. nil
	// logs nothing.
	Log *slog.Logger

	once     sync.Once
	reaper   *reap.Reaper
	start    starter
	stopping chan struct{} // closed by Shutdown
	accepted chan struct{} // closed when nothing is accepted any more
	freed    chan struct{} // gets one when a child has ended

	mu       sync.Mutex
	started  bool
	listener net.Listener
	children map[int]*client
	early    map[int]reap.Exit // of children that ended before they stood in children
	counts   Counts
}

// client is a connection that a child serves.
type client struct {
	child *reap.Child
	peer  net.Addr
	timer *time.Timer // of the deadline, or nil
}

// init makes what both Serve and Shutdown need.
func (s *Server) init() {
	s.once.Do(func() {
		s.stopping = make(chan struct{})
		s.accepted = make(chan struct{})
		s.freed = make(chan struct{}, 1)
		s.children = make(map[int]*client)
		s.early = make(map[int]reap.Exit)
		s.counts.Exits = make(map[syscall.WaitStatus]int)
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
// field, a handler that can't work, a listener whose connections no child can have;
// or the listener's: [net.ErrClosed] when somebody else has closed it. Children live
// on then; Shutdown waits for them, and ends them.
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
	s.mu.Lock()
	if s.started {
		s.mu.Unlock()
		return fmt.Errorf("serve: the server was started before: %w", syscall.EINVAL)
	}
	select {
	case <-s.stopping:
		s.mu.Unlock()
		return ErrServerClosed
	default:
	}
	reaper, err := reap.New(reap.Options{OnExit: s.ended})
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("serve: %w", err)
	}
	s.started, s.listener, s.reaper, s.start = true, listener, reaper, start
	s.mu.Unlock()

	if !s.EndWithServer {
		return s.accept(listener)
	}
	// The kernel kills the children when the thread that forked them ends. This one
	// stays until they are all gone.
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- s.accept(listener)
		s.drained(context.Background())
		runtime.UnlockOSThread()
	}()
	return <-result
}

// Check finds what Serve would refuse at its start.
func (s *Server) Check(listener net.Listener) error {
	if _, err := s.check(listener); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// check finds what is wrong with the server, and prepares its handler.
func (s *Server) check(listener net.Listener) (starter, error) {
	switch {
	case s.Handler == nil:
		return nil, fmt.Errorf("nil Handler: %w", syscall.EINVAL)
	case s.MaxChildren < 1:
		return nil, fmt.Errorf("MaxChildren %d is below 1: %w", s.MaxChildren, syscall.EINVAL)
	case s.Deadline < 0 || s.Grace < 0:
		return nil, fmt.Errorf("negative Deadline %v or Grace %v: %w", s.Deadline, s.Grace, syscall.EINVAL)
	case listener == nil:
		return nil, fmt.Errorf("nil listener: %w", syscall.EINVAL)
	}
	if _, ok := listener.(syscall.Conn); !ok {
		return nil, fmt.Errorf("connections of a %T have no descriptor: %w", listener, errors.ErrUnsupported)
	}
	return s.Handler.prepare()
}

// accept is the server's loop.
func (s *Server) accept(listener net.Listener) error {
	defer close(s.accepted)
	var pause pause
	for {
		if !s.Refuse && !s.waitForRoom() {
			return ErrServerClosed
		}
		conn, err := listener.Accept()
		if s.isStopping() {
			if err == nil {
				s.count(func(c *Counts) { c.Accepted++ })
				s.serve(conn)
			}
			return ErrServerClosed
		}
		if errors.Is(err, syscall.ECONNABORTED) {
			continue // the client is gone
		}
		if err != nil && !isShortage(err) {
			return fmt.Errorf("serve: %w", err)
		}
		if err != nil {
			s.Log.Warn("accept", "err", err)
			pause.wait(s)
			continue
		}
		pause = 0
		s.count(func(c *Counts) { c.Accepted++ })
		if s.Refuse && s.full() {
			s.count(func(c *Counts) { c.Refused++ })
			s.Log.Debug("refused", "peer", conn.RemoteAddr())
			conn.Close()
			continue
		}
		s.serve(conn)
	}
}

// serve makes the child of a connection, and closes the connection here.
func (s *Server) serve(conn net.Conn) {
	const patience = 10 * time.Second
	peer := conn.RemoteAddr()
	giveUp := time.Now().Add(patience)
	var pause pause
	s.count(func(c *Counts) { c.Active++ })
	pid, err := s.start(conn, childOptions{s.EndWithServer})
	for err != nil {
		s.count(func(c *Counts) { c.FailedForks++ })
		if !isShortage(err) || time.Now().After(giveUp) || s.isStopping() {
			s.count(func(c *Counts) { c.Active--; c.Dropped++ })
			s.Log.Error("dropped", "peer", peer, "err", err)
			conn.Close()
			return
		}
		s.Log.Warn("no child yet", "peer", peer, "err", err)
		pause.wait(s)
		pid, err = s.start(conn, childOptions{s.EndWithServer})
	}
	// First the close: it frees the descriptor that the child's pidfd takes.
	conn.Close()
	s.watch(pid, peer)
}

// watch hands a child to the Reaper.
func (s *Server) watch(pid int, peer net.Addr) {
	var pause pause
	child, err := s.reaper.Add(pid)
	for isShortage(err) { // somebody else took the descriptor: the child can wait
		s.Log.Warn("child not watched yet", "pid", pid, "err", err)
		pause.wait(s)
		child, err = s.reaper.Add(pid)
	}
	if err != nil { // somebody else took its status
		s.Log.Error("child lost", "pid", pid, "peer", peer, "err", err)
		s.count(func(c *Counts) { c.Active-- })
		s.free()
		return
	}
	s.Log.Debug("started", "pid", pid, "peer", peer)
	c := &client{child: child, peer: peer}
	s.mu.Lock()
	exit, over := s.early[pid]
	if over {
		delete(s.early, pid)
	} else {
		s.children[pid] = c
		if s.Deadline > 0 {
			c.timer = time.AfterFunc(s.Deadline, func() { s.terminate(c, "deadline") })
		}
	}
	s.mu.Unlock()
	if over {
		s.finish(exit, c)
	}
}

// ended is the Reaper's OnExit.
func (s *Server) ended(exit reap.Exit) {
	s.mu.Lock()
	c := s.children[exit.Pid]
	if c == nil {
		s.early[exit.Pid] = exit
		s.mu.Unlock()
		return
	}
	delete(s.children, exit.Pid)
	s.mu.Unlock()
	s.finish(exit, c)
}

// finish notes a child's end.
func (s *Server) finish(exit reap.Exit, c *client) {
	if c.timer != nil {
		c.timer.Stop()
	}
	s.count(func(counts *Counts) {
		counts.Active--
		counts.Exits[exit.Status]++
	})
	level := slog.LevelDebug
	if exit.Status.ExitStatus() != 0 {
		level = slog.LevelWarn
	}
	s.Log.Log(context.Background(), level, "ended", "pid", exit.Pid, "peer", c.peer, "status", describe(exit.Status))
	s.free()
}

// terminate ends a child: first by SIGTERM, after the grace by SIGKILL.
func (s *Server) terminate(c *client, why string) {
	if err := s.signal(c, syscall.SIGTERM); err != nil {
		return // it has ended by itself
	}
	s.count(func(c *Counts) { c.Terminated++ })
	s.Log.Warn("terminated", "pid", c.child.Pid(), "peer", c.peer, "why", why)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.children[c.child.Pid()] == c {
		c.timer = time.AfterFunc(s.Grace, func() { s.signal(c, syscall.SIGKILL) })
	}
}

// signal sends a signal to the child's group, or to the child alone as long as it has
// not made itself a leader.
func (s *Server) signal(c *client, sig syscall.Signal) error {
	err := c.child.SignalGroup(sig)
	if errors.Is(err, syscall.ESRCH) {
		err = c.child.Signal(sig)
	}
	return err
}

// Shutdown stops accepting, closes the listener, and waits until all children have
// ended. When ctx is done first, they are sent SIGTERM, and Grace later SIGKILL;
// Shutdown then returns ctx's error, with no child left. Connections that the
// listener's queue still holds are reset by the kernel. It may be called at any time
// and more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.mu.Lock()
	if !s.isStopping() {
		close(s.stopping)
	}
	if !s.started {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	s.listener.Close()
	<-s.accepted
	err := s.drained(ctx)
	if err != nil {
		s.mu.Lock()
		clients := maps.Clone(s.children)
		s.mu.Unlock()
		for _, c := range clients {
			s.terminate(c, "shutdown")
		}
		s.drained(context.Background()) // SIGKILL sees to it
		err = fmt.Errorf("shutdown: %w", err)
	}
	s.reaper.Close()
	return err
}

// drained waits until no child is left, or ctx is done.
func (s *Server) drained(ctx context.Context) error {
	for {
		if s.Counts().Active == 0 {
			s.free() // others may wait, too
			return nil
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Counts returns what was counted so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.counts
	counts.Exits = maps.Clone(counts.Exits)
	return counts
}

func (s *Server) count(change func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.counts)
}

// waitForRoom waits until there may be one child more. It returns false when the
// server stops.
func (s *Server) waitForRoom() bool {
	for s.full() {
		select {
		case <-s.freed:
		case <-s.stopping:
			return false
		}
	}
	return !s.isStopping()
}

func (s *Server) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.Active >= s.MaxChildren
}

// free says that a child has ended.
func (s *Server) free() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// pause is a wait that grows: from 5 ms to a second.
type pause time.Duration

// wait waits, but not longer than until a child has ended, which gives back what was
// missing.
func (p *pause) wait(s *Server) {
	*p = min(max(2**p, pause(5*time.Millisecond)), pause(time.Second))
	timer := time.NewTimer(time.Duration(*p))
	defer timer.Stop()
	select {
	case <-s.freed:
	case <-timer.C:
	}
}

// isShortage tells whether an error says that something has run out that others will
// give back.
func isShortage(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
