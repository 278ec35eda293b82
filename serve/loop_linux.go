//go:build cgo && (amd64 || arm64)

package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/rawcall"
)

// loop is a Server at work: one goroutine that accepts, forks, reaps and signals. It
// waits in one place, for an epoll set of the listener and of the children's pidfds.
//
// After a fork, each page that the parent writes to is copied, at a price that may be
// a tenth of the fork's. So nothing is allocated for a connection, no other goroutine
// wakes up for it, no call tells the runtime, and what changes lies close together.
type loop struct {
	server   *Server
	start    starter
	options  childOptions
	theirs   int          // the caller's descriptor of the listener
	socket   rawcall.File // which file that is
	listener int          // a duplicate, -1 when nothing is accepted any more
	result   chan error   // of Serve

	set   *os.File        // the epoll set
	await syscall.RawConn // of set
	epoll int             // its descriptor
	wake  int             // an eventfd: there is something in serverState
	timer int             // a timerfd
	armed time.Duration   // when it will be readable, 0 for never; like all times since born
	born  time.Time

	watching bool     // the listener is in the set
	children []client // those that are free among them; first as long as there are few
	free     int32    // the first free one, or -1
	used     int

	// What waits for something that has run out.
	held   int           // a connection that has no child yet, or -1
	child  int32         // that it will have
	giveUp time.Duration // on that connection, 0 before the first failure
	late   int32         // a child that has no pidfd yet, or -1
	pause  time.Duration // before the next try; it grows
	retry  time.Duration // when that is, 0 for at once

	ready  int // of events
	events [32]unix.EpollEvent

	first [fewChildren]client
}

// fewChildren is how many children the loop has room for on its page.
const fewChildren = 23

// client is a connection that a child serves.
type client struct {
	pid, pidfd int32
	next       int32         // of the free ones
	terminated bool          // it was sent SIGTERM
	due        time.Duration // the next signal is, 0 for never
	peer       peer
}

// What events say instead of a child's index.
const (
	isListener = -1 - iota
	isWake
	isTimer
)

// patience is how long a connection waits for a child.
const patience = 10 * time.Second

func newLoop(s *Server, listener net.Listener, start starter) (*loop, error) {
	l := &s.state.loop
	*l = loop{
		server: s, start: start, options: childOptions{s.EndWithServer, os.Getpid()},
		listener: -1, result: make(chan error, 1),
		epoll: -1, wake: -1, timer: -1, born: time.Now(), free: -1, held: -1, late: -1,
	}
	l.children = l.first[:0]
	if err := l.open(listener); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// open makes the descriptors.
func (l *loop) open(listener net.Listener) (err error) {
	err = rawfork.WithFD(listener, func(fd int) (err error) {
		handDown(fd)
		l.theirs = fd
		if l.socket, err = rawcall.FileOf(fd); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		l.listener, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewSyscallError("fcntl", err)
	})
	if err != nil {
		return err
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(l.epoll, true); err != nil { // or NewFile wouldn't poll it
		return os.NewSyscallError("fcntl", err)
	}
	l.set = os.NewFile(uintptr(l.epoll), "epoll of a server")
	if l.await, err = l.set.SyscallConn(); err != nil {
		return err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd2", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	if err := l.add(l.wake, isWake, 0); err != nil {
		return err
	}
	return l.add(l.timer, isTimer, 0)
}

// handDown sets for a listener of TCP what package net sets for each connection, which
// a connection has from its listener. It is nothing to fail for.
func handDown(fd int) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_INET && domain != unix.AF_INET6 {
		return
	}
	const idle = 15 // seconds
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, idle)
}

// close gives the descriptors back.
func (l *loop) close() {
	for _, fd := range []int{l.listener, l.wake, l.timer} {
		if fd >= 0 {
			rawcall.Close(fd)
		}
	}
	if l.set != nil {
		l.set.Close()
	} else if l.epoll >= 0 {
		rawcall.Close(l.epoll)
	}
}

// add adds a descriptor to the set.
func (l *loop) add(fd int, who int32, how uint32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | how, Fd: who}
	return os.NewSyscallError("epoll_ctl", rawcall.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event))
}

func (l *loop) remove(fd int) { rawcall.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

// run is the server's life: until nothing is accepted and no child is left.
func (l *loop) run() {
	poll := func(uintptr) bool { return l.look(0) }
	for {
		l.tryAgain()
		if l.listener < 0 && l.used == 0 {
			break
		}
		l.watchListener()
		// Before a sleep in the scheduler, which writes to 7 pages, a short one without it:
		// the fork has stopped the others for longer.
		if !l.look(0) && !l.look(1) {
			l.await.Read(poll) // can't fail: the set is open
		}
		connection := false
		for _, event := range l.events[:l.ready] {
			switch event.Fd {
			case isListener:
				connection = true
			case isWake:
				rawcall.Drain(l.wake)
				l.obey()
			case isTimer:
				rawcall.Drain(l.timer)
				l.expire()
			default:
				l.reap(event.Fd)
			}
		}
		if connection && l.listener >= 0 {
			l.accept()
		}
	}
	st := &l.server.state
	st.mu.Lock()
	st.wake = -1
	l.close()
	st.mu.Unlock()
	close(st.done)
}

// look looks for events, for so many milliseconds, and tells whether there are any.
func (l *loop) look(ms int) bool {
	n, err := rawcall.EpollWait(l.epoll, l.events[:], ms)
	l.ready = n
	return n > 0 || err != nil
}

// watchListener has the set wait for connections, if another one can be served or is
// to be refused.
func (l *loop) watchListener() {
	want := l.listener >= 0 && l.retry == 0 && l.held < 0 && l.late < 0 &&
		(l.server.Refuse || l.used < l.server.MaxChildren)
	if want == l.watching {
		return
	}
	if !want {
		l.remove(l.listener)
	} else if err := l.add(l.listener, isListener, 0); err != nil {
		l.backOff("not listening yet", err)
		return
	}
	l.watching = want
}

// obey does what the server's callers want.
func (l *loop) obey() {
	st := &l.server.state
	st.mu.Lock()
	stopping, ending := st.stopping, st.ending
	st.mu.Unlock()
	if stopping && l.listener >= 0 {
		l.stopAccepting(ErrServerClosed)
	}
	if stopping && l.held >= 0 { // for the last time
		l.retry = 0
		l.tryAgain()
	}
	if !ending {
		return
	}
	for i := range l.children {
		if c := &l.children[i]; c.pid > 0 && !c.terminated {
			l.terminate(c, "shutdown")
		}
	}
}

// stopAccepting ends Serve.
func (l *loop) stopAccepting(err error) {
	if l.watching {
		l.remove(l.listener) // the caller's descriptor would keep it there
		l.watching = false
	}
	rawcall.Close(l.listener)
	l.listener = -1
	l.result <- err
}

// accept accepts a connection and has it served.
func (l *loop) accept() {
	s, st := l.server, &l.server.state
	if file, err := rawcall.FileOf(l.theirs); err != nil || file != l.socket {
		l.stopAccepting(l.whyClosed())
		return
	}
	var from peer
	fd, err := rawcall.Accept(l.listener, &from.raw)
	switch {
	case err == nil:
	case hasNone(err):
		return
	case isShortage(err):
		l.backOff("accept", err)
		return
	default:
		l.stopAccepting(fmt.Errorf("serve: %w", os.NewSyscallError("accept4", err)))
		return
	}
	refuse := s.Refuse && l.used >= s.MaxChildren
	st.mu.Lock()
	st.counts.Accepted++
	if refuse {
		st.counts.Refused++
	} else {
		st.counts.Active++
	}
	st.mu.Unlock()
	if refuse {
		rawcall.Close(fd)
		if l.logs(slog.LevelDebug) {
			s.Log.Debug("refused", "peer", from.addr())
		}
		return
	}
	l.pause = 0
	l.held, l.child, l.giveUp = fd, l.take(), 0
	l.children[l.child].peer = from
	l.startChild()
}

// whyClosed is what Serve returns when the caller's listener is closed: Shutdown may
// have done that after the loop looked for events.
func (l *loop) whyClosed() error {
	st := &l.server.state
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stopping {
		return ErrServerClosed
	}
	return fmt.Errorf("serve: %w", net.ErrClosed)
}

// hasNone tells whether accept4(2) had no connection, or none any more.
func hasNone(err error) bool {
	switch err {
	case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.ENOPROTOOPT, unix.EPERM,
		unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET:
		return true
	}
	return false
}

// tryAgain does what has failed for a shortage, once it is time.
func (l *loop) tryAgain() {
	if l.retry == 0 && l.late >= 0 {
		l.watch(l.late)
	}
	if l.retry == 0 && l.held >= 0 {
		l.startChild()
	}
}

// startChild makes the child of the connection that is held, and closes that here.
func (l *loop) startChild() {
	c := &l.children[l.child]
	pid, err := l.start(l.held, &c.peer, l.options)
	if err != nil {
		l.noChild(c, err)
		return
	}
	rawcall.Close(l.held) // first: that frees the descriptor that the pidfd takes
	l.held = -1
	c.pid = int32(pid)
	l.watch(l.child)
}

// noChild keeps a connection for another try, or gives it up.
func (l *loop) noChild(c *client, err error) {
	st := &l.server.state
	now := l.now()
	if l.giveUp == 0 {
		l.giveUp = now + patience
	}
	st.mu.Lock()
	st.counts.FailedForks++
	drop := !isShortage(err) || now >= l.giveUp || st.stopping
	if drop {
		st.counts.Dropped++
		st.counts.Active--
	}
	st.mu.Unlock()
	if !drop {
		l.backOff("no child yet", err)
		return
	}
	l.server.Log.Error("dropped", "peer", c.peer.addr(), "err", err)
	rawcall.Close(l.held)
	l.held = -1
	l.release(l.child)
}

// watch has the set wait for a child's end.
func (l *loop) watch(i int32) {
	c := &l.children[i]
	l.late = -1
	var err error
	if fd, openErr := rawcall.PidfdOpen(int(c.pid)); openErr != nil {
		err = os.NewSyscallError("pidfd_open", openErr)
	} else if err = l.add(fd, i, unix.EPOLLET); err != nil { // see package reap
		rawcall.Close(fd)
	} else {
		c.pidfd = int32(fd)
	}
	if isShortage(err) { // somebody else took the descriptor: the child can wait
		l.late = i
		l.backOff("child not watched yet", err)
		return
	}
	if err != nil {
		l.lost(i, err)
		return
	}
	if l.logs(slog.LevelDebug) {
		l.server.Log.Debug("started", "pid", c.pid, "peer", c.peer.addr())
	}
	if l.server.Deadline > 0 {
		c.due = l.now() + l.server.Deadline
		l.arm(c.due)
	}
}

// lost lets go of a child whose status somebody else has taken.
func (l *loop) lost(i int32, err error) {
	c := &l.children[i]
	l.server.Log.Error("child lost", "pid", c.pid, "peer", c.peer.addr(), "err", err)
	l.server.state.mu.Lock()
	l.server.state.counts.Active--
	l.server.state.mu.Unlock()
	l.release(i)
}

// reap takes the status of a child that has ended.
func (l *loop) reap(i int32) {
	c, st := &l.children[i], &l.server.state
	pidfd := int(c.pidfd)
	pid, status, err := rawcall.WaitPidfd(pidfd, 0, nil)
	if err == nil && pid == 0 {
		return // somebody traces it: there is another event when he is done
	}
	l.remove(pidfd) // not by the close alone: a forked child may have a copy
	rawcall.Close(pidfd)
	c.pidfd = -1
	l.retry = 0 // its end gives back what was missing
	if err != nil {
		l.lost(i, os.NewSyscallError("waitid", err))
		return
	}
	st.mu.Lock()
	st.counts.Active--
	st.countExit(status)
	st.mu.Unlock()
	level := slog.LevelDebug
	if status.ExitStatus() != 0 {
		level = slog.LevelWarn
	}
	if l.logs(level) {
		l.server.Log.Log(context.Background(), level, "ended", "pid", c.pid, "peer", c.peer.addr(), "status", describe(status))
	}
	l.release(i)
}

// expire sends the signals that are due.
func (l *loop) expire() {
	now := l.now()
	l.armed = 0
	if l.retry <= now {
		l.retry = 0
	}
	l.arm(l.retry)
	for i := range l.children {
		c := &l.children[i]
		switch {
		case c.due == 0:
		case c.due > now:
			l.arm(c.due)
		case c.terminated:
			c.due = 0
			l.signal(c, syscall.SIGKILL)
		default:
			l.terminate(c, "deadline")
		}
	}
}

// terminate ends a child: first by SIGTERM, after the grace by SIGKILL.
func (l *loop) terminate(c *client, why string) {
	c.due = 0
	if err := l.signal(c, syscall.SIGTERM); err != nil {
		return // it has ended by itself
	}
	l.server.state.mu.Lock()
	l.server.state.counts.Terminated++
	l.server.state.mu.Unlock()
	l.server.Log.Warn("terminated", "pid", c.pid, "peer", c.peer.addr(), "why", why)
	c.terminated = true
	c.due = l.now() + l.server.Grace
	l.arm(c.due)
}

// signal sends a signal to the child's group, or to the child alone as long as it has
// not made itself a leader. It has not been reaped, so the pid is its own.
func (l *loop) signal(c *client, sig syscall.Signal) error {
	err := unix.Kill(-int(c.pid), sig)
	if errors.Is(err, syscall.ESRCH) {
		err = unix.Kill(int(c.pid), sig)
	}
	return err
}

// backOff waits until a child has ended, or for a time that grows: from 5 ms to a
// second.
func (l *loop) backOff(what string, err error) {
	l.server.Log.Warn(what, "err", err)
	l.pause = min(max(2*l.pause, 5*time.Millisecond), time.Second)
	l.retry = l.now() + l.pause
	l.arm(l.retry)
}

// arm has expire called at a time, or before; 0 is never.
func (l *loop) arm(at time.Duration) {
	if at == 0 || l.armed != 0 && l.armed <= at {
		return
	}
	l.armed = at
	rawcall.SetTimer(l.timer, max(at-l.now(), 1))
}

// now is the time since the loop's beginning, which is above 0.
func (l *loop) now() time.Duration { return time.Since(l.born) + 1 }

// take returns a client that is free.
func (l *loop) take() int32 {
	l.used++
	i := l.free
	if i < 0 {
		l.children = append(l.children, client{pidfd: -1})
		return int32(len(l.children) - 1)
	}
	l.free = l.children[i].next
	return i
}

// release frees a client.
func (l *loop) release(i int32) {
	l.children[i] = client{pidfd: -1, next: l.free}
	l.free = i
	l.used--
}

func (l *loop) logs(level slog.Level) bool {
	return l.server.Log.Enabled(context.Background(), level)
}
