//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a request that is under way in the child.
type Call struct {
	p       *Probe
	name    string
	request request
	args    *arguments // nil but for system calls
	forks   bool       // the child may be held by a vfork: its answer takes long

	// Guarded by p.mu.
	done      bool
	result    uintptr
	data      []byte
	err       error
	abandoned bool // it forks, and nobody wants the grandchild any more
}

// Syscall has the child make a system call and returns its result. Up to six
// arguments are
//
//   - an integer of any type, passed as it is;
//   - a string, copied to the child with a NUL byte at its end;
//   - a slice or a pointer, to a type without pointers (a []byte, a
//     *unix.Flock_t): the memory is copied to the child before the call and back
//     after it, whether the call succeeds or not;
//   - nil, which is 0.
//
// Memory of the child's own is passed by its address, see [Addr] and
// [Probe.Mmap]. The memory arguments of one call take at most 64 KB.
//
// errors.Is finds the errno of a call that failed. A child that is dead gives a
// [*DeadError]; a call that isn't done in time (see [Probe.SetTimeout]) gives
// [os.ErrDeadlineExceeded] and stays under way in the child: the next call is
// made when it is done. Calls from several goroutines are made one at a time.
//
// Any call is let through, also one that takes from the child what it serves the
// parent with: closing its socket, unmapping its code, a seccomp filter that
// forbids recvmsg(2), sendmsg(2), exit_group(2), or ppoll(2), which comes before a
// fork.
func (p *Probe) Syscall(trap uintptr, args ...any) (uintptr, error) {
	return p.Start(trap, args...).Wait()
}

// Start is [Probe.Syscall] for a call that blocks: it returns once the child was
// told. The memory of args must be left alone until [Call.Wait] has returned.
func (p *Probe) Start(trap uintptr, args ...any) *Call {
	return p.startSyscall(fmt.Sprintf("syscall %d", trap), trap, args)
}

func (p *Probe) startSyscall(name string, trap uintptr, args []any) *Call {
	a, err := layout(args, scratch())
	if err != nil {
		return &Call{p: p, name: name, done: true, err: p.wrap(name, err)}
	}
	q := request{op: opSyscall, trap: trap, args: a.values, in: region{scratch(), uintptr(len(a.data))}}
	if len(a.back) > 0 {
		q.out = q.in
	}
	c := &Call{p: p, name: name, request: q, args: a}
	p.send(c, a.data, -1)
	return c
}

// call is Syscall for the wrappers: an error bears the call's name.
func (p *Probe) call(name string, trap uintptr, args ...any) (int, error) {
	r, err := p.startSyscall(name, trap, args).Wait()
	return int(r), err
}

// scratch is the address of the child's buffer.
func scratch() uintptr { return uintptr(unsafe.Pointer(&static.scratch)) }

// start sends a request that is no system call of the caller's.
func (p *Probe) start(name string, q request, data []byte, passed int) *Call {
	c := &Call{p: p, name: name, request: q}
	p.send(c, data, passed)
	return c
}

// Wait waits until the call is done, for as long as [Probe.SetTimeout] says, and
// returns what [Probe.Syscall] does. After [os.ErrDeadlineExceeded] it may be
// called again.
func (c *Call) Wait() (uintptr, error) {
	p := c.p
	deadline := time.Now().Add(p.timeout())
	p.mu.Lock()
	err := p.receiveUntil(c, deadline)
	p.mu.Unlock()
	if err != nil {
		return ^uintptr(0), p.wrap(c.name, err)
	}
	if errors.Is(c.err, errGone) {
		return ^uintptr(0), p.wrap(c.name, p.causeOfDeath(deadline))
	}
	return c.result, c.err
}

// send puts c into the queue and its request on the way. Failures are told by
// c.Wait.
func (p *Probe) send(c *Call, data []byte, passed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enqueue(c, data, passed)
}

// enqueue is send for a caller that holds p.mu.
func (p *Probe) enqueue(c *Call, data []byte, passed int) {
	if err := p.usable(); err != nil {
		c.done, c.err = true, p.wrap(c.name, err)
		return
	}
	p.seq++
	c.request.seq = p.seq
	err := p.sendMessage(append(append([]byte(nil), bytesOf(&c.request)...), data...), passed)
	if err != nil {
		c.done, c.err = true, p.wrap(c.name, err)
		return
	}
	p.queue = append(p.queue, c)
}

// sendMessage sends one message and with it the descriptor passed, if not -1.
func (p *Probe) sendMessage(message []byte, passed int) error {
	var rights []byte
	if passed >= 0 {
		rights = unix.UnixRights(passed)
	}
	deadline := time.Now().Add(p.timeout())
	for {
		err := unix.Sendmsg(p.sock, message, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch err {
		case unix.EINTR:
			continue
		case unix.EPIPE, unix.ECONNRESET:
			return errGone
		case unix.EAGAIN:
			if err := poll(deadline, unix.PollFd{Fd: int32(p.sock), Events: unix.POLLOUT}); err != nil {
				return err
			}
			continue
		}
		return err
	}
}

// receiveUntil takes replies, which come in the order of the requests, until c
// is done. The caller holds p.mu.
func (p *Probe) receiveUntil(c *Call, deadline time.Time) error {
	for !c.done {
		if p.closed { // sock may be another's by now
			return os.ErrClosed
		}
		message, _, err := p.receive(deadline)
		if err == errGone {
			for _, q := range p.queue {
				q.done, q.err = true, errGone
			}
			p.queue = nil
			return nil
		}
		if err != nil {
			return err
		}
		p.take(p.queue[0], message)
		p.queue = p.queue[1:]
	}
	return nil
}

// take settles c with the reply in message.
func (p *Probe) take(c *Call, message []byte) {
	r, data, err := parseReply(message, c.request.seq, c.request.out.len)
	c.done, c.result, c.data = true, r.result, data
	switch {
	case err != nil:
		c.result, c.err = ^uintptr(0), p.wrap(c.name, err)
	case r.errno != 0:
		c.err = p.wrap(c.name, syscall.Errno(r.errno))
	}
	if c.args != nil && len(data) > 0 {
		c.args.copyBack(data)
	}
	if c.abandoned {
		c.reapAbandoned()
	}
}

// reapAbandoned has the child reap the grandchild that c forked, which ends by
// itself. The caller holds p.mu, and c is done.
func (c *Call) reapAbandoned() {
	if c.err == nil {
		c.p.reapLater(int(c.result))
	}
}

// reapLater has the child reap its own child pid once it comes to it, and doesn't
// wait for that. The caller holds p.mu.
func (p *Probe) reapLater(pid int) {
	wait := request{op: opSyscall, trap: unix.SYS_WAIT4, args: [6]uintptr{uintptr(pid), 0, unix.WALL}}
	p.enqueue(&Call{p: p, name: "wait4", request: wait}, nil, -1)
}

// errGone says that the child's end of the socket is closed.
var errGone = errors.New("the child is gone")

// buffers have room for the largest message. Most are small, and a new buffer for
// each probe would cost more than its fork.
var buffers = sync.Pool{New: func() any { return new([replySize + maxData]byte) }}

// receive takes one message, with the control data that came along.
func (p *Probe) receive(deadline time.Time) (message, control []byte, err error) {
	buffer := buffers.Get().(*[replySize + maxData]byte)
	defer buffers.Put(buffer)
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		// The death is looked for first: what the child said before is read after.
		dead := p.ended()
		n, m, _, _, err := unix.Recvmsg(p.sock, buffer[:], oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
		case err == unix.ECONNRESET, err == nil && n == 0:
			return nil, nil, errGone
		case err == nil:
			return append([]byte(nil), buffer[:n]...), oob[:m], nil
		case err != unix.EAGAIN:
			return nil, nil, os.NewSyscallError("recvmsg", err)
		case dead: // others hold the child's end
			return nil, nil, errGone
		default:
			err := poll(deadline, unix.PollFd{Fd: int32(p.sock), Events: unix.POLLIN},
				unix.PollFd{Fd: int32(p.pidfd), Events: unix.POLLIN})
			if err != nil {
				return nil, nil, err
			}
		}
	}
}

// poll waits until one of fds has an event, or gives os.ErrDeadlineExceeded.
func poll(deadline time.Time, fds ...unix.PollFd) error {
	for {
		left := max(time.Until(deadline), 0)
		ts := unix.NsecToTimespec(int64(left))
		n, err := unix.Ppoll(fds, &ts, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("ppoll", err)
		case n > 0:
			return nil
		case left == 0:
			return os.ErrDeadlineExceeded
		}
	}
}

// Blocked waits until the child sleeps in the call, as /proc/PID/syscall tells:
// a call that is done, or the death of the child, are errors. It is for calls
// that block, such as pause(2): there is nobody in the child who could say
// "now". Reading that file takes the right to trace the child.
func (c *Call) Blocked() error {
	p := c.p
	deadline := time.Now().Add(p.timeout())
	for {
		sleeping, err := p.sleepsIn(c.request.trap)
		if err == nil && !sleeping {
			err = c.unfinished(deadline)
		}
		if err != nil || sleeping {
			if err != nil {
				err = p.wrap(c.name+": blocked", err)
			}
			return err
		}
	}
}

// unfinished returns an error when c is done or the deadline is over. Else it
// takes a moment, which ends early when there is a reply.
func (c *Call) unfinished(deadline time.Time) error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	err := c.p.receiveUntil(c, time.Now().Add(time.Millisecond))
	switch {
	case c.done:
		return errors.New("the call is done")
	case err == os.ErrDeadlineExceeded && time.Now().Before(deadline):
		return nil
	}
	return err
}

// sleepsIn tells whether the child sleeps in the system call trap.
func (p *Probe) sleepsIn(trap uintptr) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", p.pid))
	if err != nil {
		return false, err
	}
	var number int // a child that runs has "running" there
	_, err = fmt.Sscan(string(text), &number)
	return err == nil && number == int(trap), nil
}
