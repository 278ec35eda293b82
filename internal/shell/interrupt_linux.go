//go:build amd64 || arm64

package shell

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/probe"
)

// A running command can be cut off.
type running struct {
	child *probe.Probe  // who makes the call, or nil for this program
	cut   chan struct{} // closed when it is cut off
	done  chan struct{} // closed at its end
	grace time.Duration // how long the call may go on after SIGINT: then the child is killed

	mu    sync.Mutex
	ended bool
}

// begin says that a command of the current process runs, until end is called.
func (s *shell) begin(c *command) (end func()) {
	r := &running{cut: make(chan struct{}), done: make(chan struct{}), grace: s.timeout / 5}
	if c.inside && s.current > 0 {
		r.child = s.probes[s.current-1]
	}
	s.running.Store(r)
	return func() {
		r.mu.Lock()
		r.ended = true
		r.mu.Unlock()
		close(r.done)
	}
}

// interrupt cuts off the command that runs, if there is one. A child that makes a call
// gets SIGINT, as a terminal would send it, which ends it or, with a handler, its call;
// a child that goes on for all that is killed.
func (s *shell) interrupt() {
	r := s.running.Load()
	if r == nil || !r.cutOff() {
		return
	}
	go func() {
		const again = 50 * time.Millisecond // the first may come before the call
		for over := time.Now().Add(r.grace); ; {
			select {
			case <-r.done:
				return
			case <-time.After(again):
			}
			if time.Now().After(over) {
				r.signal(unix.SIGKILL)
				return
			}
			r.signal(unix.SIGINT)
		}
	}()
}

// cutOff cuts off the command, once, unless it has ended. That it was is to be seen before
// the signal makes the call return.
func (r *running) cutOff() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.cut:
		return false
	default:
	}
	if r.ended {
		return false
	}
	close(r.cut)
	r.kill(unix.SIGINT)
	return true
}

// signal sends the child a signal, unless the command has ended.
func (r *running) signal(sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.kill(sig)
	}
}

func (r *running) kill(sig syscall.Signal) {
	if r.child != nil {
		r.child.Kill(sig) // an error if it is dead
	}
}

// wasCut tells whether the command that runs was cut off.
func (s *shell) wasCut() bool {
	select {
	case <-s.running.Load().cut:
		return true
	default:
		return false
	}
}

// errLives says what came of a wait that was cut off.
var errLives = errors.New("the child lives on")

// await is the child's Wait, which can be cut off: it looks for that all the time.
func (s *shell) await(p *probe.Probe) (syscall.WaitStatus, error) {
	const look = 100 * time.Millisecond
	defer p.SetTimeout(s.timeout)
	for over := time.Now().Add(s.timeout); ; {
		p.SetTimeout(max(min(look, time.Until(over)), time.Millisecond))
		status, err := p.Wait()
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return status, err
		case s.wasCut():
			return status, errLives
		case time.Until(over) <= 0:
			return status, err
		}
	}
}

// readsTerminal tells whether the command has a child read from a terminal, or waits for
// another program, which may: the keys are theirs then.
func (s *shell) readsTerminal(c *command, values []any) bool {
	pid, fd := os.Getpid(), -1
	if s.current > 0 {
		pid = s.probes[s.current-1].Pid()
	}
	switch {
	case c.name == "wait":
		n := values[0].(int)
		return n > 0 && s.execed[s.probes[n-1]]
	case c.name == "read":
		fd = values[0].(int)
	case c.name == "syscall" && values[0] == unix.SYS_READ:
		fd = number(values[1], -1)
	}
	file, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	return err == nil && (strings.HasPrefix(file, "/dev/pts/") || strings.HasPrefix(file, "/dev/tty") || file == "/dev/console")
}
