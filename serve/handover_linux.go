//go:build cgo && (amd64 || arm64)

package serve

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/internal/rawcall"
)

// leaveToChildren takes a listener out of the epoll set of package net, which would
// wake this process for each connection that a child is to have. Which set that is
// nobody says: it is taken out of each that this process has. Where it can't be, the
// pool is slower.
func leaveToChildren(listener int) error {
	const dir = "/proc/self/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		var set int
		if kind, _ := os.Readlink(dir + entry.Name()); kind != "anon_inode:[eventpoll]" {
			continue
		}
		if _, err := fmt.Sscan(entry.Name(), &set); err == nil {
			rawcall.EpollCtl(set, unix.EPOLL_CTL_DEL, listener, nil) // ENOENT: it isn't in there
		}
	}
	return nil
}

// handOver accepts connections and sends them to whichever child takes the next, until
// the shutdown. It waits by system calls of its own: by the runtime's poller, each
// connection would wake one thread to wake another.
func (p *Pool) handOver() {
	wait := make([]unix.PollFd, 0, 1+len(p.state.sources))
	wait = append(wait, unix.PollFd{Fd: int32(p.state.wake), Events: unix.POLLIN})
	for _, source := range p.state.sources {
		wait = append(wait, unix.PollFd{Fd: int32(source), Events: unix.POLLIN})
	}
	var back time.Duration
	for !isClosed(p.state.stopping) {
		if back > 0 { // without looking at the listeners
			p.await(wait[:1], back)
		} else {
			p.await(wait, -1)
		}
		var failed error
		for _, source := range wait[1:] {
			if source.Revents == 0 && back == 0 {
				continue
			}
			for range 32 { // then it is another listener's turn
				more, err := p.acceptAndSend(int(source.Fd))
				if err != nil {
					failed = err
				}
				if !more || isClosed(p.state.stopping) {
					break
				}
			}
		}
		if failed == nil {
			back = 0
			continue
		}
		p.Log.Warn("accept", "err", failed)
		back = min(max(2*back, 5*time.Millisecond), time.Second)
	}
}

// await waits for a descriptor, or so long; -1 is for ever. The first one is wake.
func (p *Pool) await(wait []unix.PollFd, limit time.Duration) {
	ms := -1
	if limit >= 0 {
		ms = int(limit.Milliseconds())
	}
	for i := range wait {
		wait[i].Revents = 0
	}
	// A short wait that the runtime isn't told of: it would have its monitor watch the
	// long one, at the price of a connection.
	if n, _ := rawcall.Poll(wait, 1); n <= 0 {
		unix.Poll(wait, ms) // EINTR is as good as nothing
	}
	if wait[0].Revents != 0 {
		rawcall.Drain(p.state.wake)
	}
}

// acceptAndSend takes a connection, and tells whether there was one. The error is of
// accept4(2).
func (p *Pool) acceptAndSend(listener int) (more bool, err error) {
	var from peer
	fd, err := rawcall.Accept(listener, &from.raw)
	if hasNone(err) {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("accept4", err)
	}
	if err := p.send(fd); err != nil {
		p.Log.Error("dropped", "peer", from.addr(), "err", err)
	}
	rawcall.Close(fd)
	return true, nil
}

// send sends a connection to the current generation, and waits while the socket is
// full, as long as there are children.
func (p *Pool) send(fd int) error {
	s := &p.state
	for {
		s.mu.Lock() // nobody closes the socket meanwhile
		socket, err := s.current.ours, error(unix.EPIPE)
		if !s.current.isStopped {
			err = rawcall.SendFD(socket, fd)
		}
		s.mu.Unlock()
		if err != unix.EAGAIN {
			return os.NewSyscallError("sendmsg", err)
		}
		p.await([]unix.PollFd{{Fd: int32(s.wake), Events: unix.POLLIN}, {Fd: int32(socket), Events: unix.POLLOUT}}, -1)
	}
}
