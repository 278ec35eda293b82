//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
)

// DefaultTimeout is how long a call may take until [Probe.SetTimeout] says
// otherwise: far above what any call takes that does not block, on a loaded machine.
const DefaultTimeout = 30 * time.Second

// Probe is a child that does what its parent says. It is made by [Fork],
// [Probe.Fork] or [Probe.Clone]; the zero value is of no use. All methods may be
// called from any goroutine.
type Probe struct {
	pid    int    // as this process sees it
	parent *Probe // nil for a child of this process
	born   *Call  // the call that made it, nil for a child of Fork
	theirs int    // the child's descriptor of its end
	limit  atomic.Int64

	mu     sync.Mutex // held while a request or a reply is on its way
	seq    uintptr
	queue  []*Call // not answered yet
	execed bool

	family sync.Mutex
	kids   []*Probe

	life   sync.RWMutex // held for reading while sock or pidfd are in use
	sock   int
	pidfd  int
	closed bool

	death  sync.Mutex // held by those who reap
	reaped bool
	status syscall.WaitStatus
}

// all are the probes that are open. A new child closes the parent's ends, which
// it would else inherit. The lock is held for the whole of a fork, so that it
// sees neither half of another.
var all struct {
	sync.Mutex
	open []*Probe
}

// Fork forks a child that serves this process and returns its handle, which the
// caller must close. The child is that of [rawfork.Fork]: a copy of the process,
// made on the caller's thread, with the caller's signal mask and with all of the
// parent's descriptors, close-on-exec or not ([Probe.KeepOnly] closes them).
//
// What the probe needs itself are descriptors from 512 on: two in the parent,
// one in the child, all close-on-exec. Those of the parent's are not in the
// child.
//
// The child ends when the parent's end closes: by [Probe.Close], or when the
// parent ends, in whatever way. A child that is blocked in a call of the
// caller's at that time ends when the call returns. A process that was forked by
// other means than this package holds the parent's end open until it ends or
// execs.
//
// errors.Is finds the errno; [errors.ErrUnsupported] where there is no fork.
//
//go:norace
func Fork() (*Probe, error) {
	all.Lock()
	defer all.Unlock()
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	closing := []int{ours}
	for _, p := range all.open {
		closing = append(closing, p.sock, p.pidfd)
	}
	pid, err := rawfork.Fork()
	if pid == 0 && err == nil {
		// ---- The child. No function that checks its stack from here on. ----
		serve(theirs, closing)
	}
	unix.Close(theirs)
	if err != nil {
		unix.Close(ours)
		return nil, fmt.Errorf("probe: %w", err)
	}
	p := &Probe{pid: pid, sock: ours, pidfd: -1}
	if err := p.adopt(); err != nil {
		unix.Close(ours)
		unix.Kill(pid, unix.SIGKILL)
		rawfork.Wait(pid)
		return nil, fmt.Errorf("probe %d: %w", pid, err)
	}
	return p, nil
}

// Fork has the child fork and returns the grandchild's handle, which is closed
// with the child's or before it. The grandchild's signals, mask, memory and
// descriptors are the child's; its socket is its own. It is made by
// [child.Fork], so libc's atfork handlers don't run.
func (p *Probe) Fork() (*Probe, error) {
	return p.fork("fork", request{op: opFork}, nil, false, p)
}

// Clone has the child call clone(2) with flags, in whose low byte is the signal
// that the grandchild's end sends, most often SIGCHLD; or clone3(2), for flags
// above the low 32 bits, such as CLONE_CLEAR_SIGHAND.
//
// Flags by which the grandchild would run in the child's memory, CLONE_VM,
// CLONE_SIGHAND and CLONE_THREAD, and those that need a pointer, give EINVAL.
// With CLONE_VFORK the child is held until the grandchild ends or execs: its
// calls time out as long. With CLONE_PARENT the grandchild is the caller's own
// child, or that of the child's parent. With CLONE_FILES both share one
// descriptor table.
func (p *Probe) Clone(flags uint64) (*Probe, error) {
	const unfit = unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SETTLS |
		unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_SETTID | unix.CLONE_CHILD_CLEARTID | unix.CLONE_PIDFD
	if flags&unfit != 0 {
		return nil, p.wrap("clone", fmt.Errorf("flags %#x: %w", flags&unfit, syscall.EINVAL))
	}
	parent, op := p, uintptr(opClone)
	if flags&unix.CLONE_PARENT != 0 {
		parent = p.parent
	}
	if flags&unix.CLONE_FILES != 0 {
		op = opCloneFiles
	}
	vfork := flags&unix.CLONE_VFORK != 0
	if flags>>32 == 0 {
		q := request{op: op, trap: unix.SYS_CLONE, args: [6]uintptr{uintptr(flags)}}
		return p.fork("clone", q, nil, vfork, parent)
	}
	const exitSignal = 0xff // CSIGNAL
	args := cloneArgs{flags: flags &^ exitSignal, exitSignal: flags & exitSignal}
	q := request{op: op, trap: unix.SYS_CLONE3, args: [6]uintptr{scratch(), unsafe.Sizeof(args)},
		in: region{scratch(), unsafe.Sizeof(args)}}
	return p.fork("clone3", q, bytesOf(&args), vfork, parent)
}

// cloneArgs is struct clone_args in its first version.
type cloneArgs struct {
	//lint:ignore U1000 the kernel reads it
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
}

// fork has the child fork by the request q. A vfork isn't waited for.
func (p *Probe) fork(name string, q request, data []byte, vfork bool, parent *Probe) (*Probe, error) {
	all.Lock()
	defer all.Unlock()
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, p.wrap(name, err)
	}
	// The kernel tells the grandchild's pid as it is here: in a pid namespace of
	// its own it would say 1.
	err = unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	c := &Call{p: p, name: name, request: q, forks: vfork}
	g := &Probe{parent: parent, born: c, sock: ours, pidfd: -1}
	g.limit.Store(p.limit.Load())
	if err != nil {
		unix.Close(theirs)
		unix.Close(ours)
		return nil, p.wrap(name, os.NewSyscallError("setsockopt", err))
	}
	p.send(c, data, theirs)
	unix.Close(theirs)
	if !vfork {
		_, err = c.Wait()
	}
	if err == nil {
		if err = g.adopt(); err != nil {
			err = p.wrap(name, err)
			if _, why := c.Wait(); why != nil { // there is no grandchild
				err = why
			}
		}
	}
	if err != nil {
		g.abandon()
		return nil, err
	}
	p.family.Lock()
	p.kids = append(p.kids, g)
	p.family.Unlock()
	return g, nil
}

// abandon gives up a grandchild. The child doesn't make it any more, unless it is
// about to: it ends then as its socket closes, and its parent reaps it.
func (g *Probe) abandon() {
	unix.Close(g.sock)
	c := g.born
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.abandoned = true; c.done {
		c.reapAbandoned()
	}
}

// socketpair makes the two ends of a probe, out of the way of other descriptors.
func socketpair() (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return high(fds[0]), high(fds[1]), nil
}

// high moves fd to a number from highFd on, when there is one.
func high(fd int) int {
	moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, highFd)
	if err != nil {
		return fd
	}
	unix.Close(fd)
	return moved
}

// adopt waits for the first message of a new child and gets hold of it by a
// pidfd, so that no pid of a later process is ever taken for it.
func (p *Probe) adopt() error {
	message, control, err := p.receive(time.Now().Add(p.timeout()))
	if err != nil {
		return err
	}
	hello, _, err := parseReply(message, 0, 0)
	if err != nil {
		return err
	}
	p.theirs = int(hello.result)
	if p.pid == 0 {
		if p.pid, err = sender(control); err != nil {
			return err
		}
	}
	pidfd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	p.pidfd = high(pidfd)
	all.open = append(all.open, p)
	return nil
}

// sender is the pid in the control data of a message.
func sender(control []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, err
	}
	for _, m := range messages {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil && cred.Pid > 0 {
			return int(cred.Pid), nil
		}
	}
	return 0, fmt.Errorf("no pid of the grandchild: %w", syscall.EBADMSG)
}

// Pid is the child's pid as this process sees it; [Probe.Getpid] asks the child.
func (p *Probe) Pid() int { return p.pid }

// Parent is the probe that p is the child of, or nil for this process.
func (p *Probe) Parent() *Probe { return p.parent }

// SetTimeout sets how long each call may take from now on, and those of
// grandchildren that are forked later. 0 is [DefaultTimeout], which [Probe.Close] may
// take in any case.
func (p *Probe) SetTimeout(d time.Duration) { p.limit.Store(int64(d)) }

func (p *Probe) timeout() time.Duration {
	if d := time.Duration(p.limit.Load()); d != 0 {
		return d
	}
	return DefaultTimeout
}

// usable returns why p takes no requests. The caller holds p.mu.
func (p *Probe) usable() error {
	switch {
	case p.closed:
		return os.ErrClosed
	case p.execed:
		return errExeced
	}
	return nil
}

func (p *Probe) wrap(name string, err error) error {
	return fmt.Errorf("probe %d: %s: %w", p.pid, name, err)
}

// Close ends the child and all of its descendants, by SIGKILL, reaps them where
// this process or a living probe is the parent (or this process a subreaper),
// and gives the descriptors back. Calls that other goroutines are making fail.
// Closing a probe again does nothing.
func (p *Probe) Close() error {
	kids := p.children()
	var errs []error
	for _, kid := range kids {
		errs = append(errs, kid.Close())
	}
	errs = append(errs, p.end())
	for _, kid := range kids {
		kid.reapOrphan()
	}
	return errors.Join(errs...)
}

// children are those that p has forked. They have a lock of their own, since a call
// that Close is to end holds mu.
func (p *Probe) children() []*Probe {
	p.family.Lock()
	defer p.family.Unlock()
	return slices.Clone(p.kids)
}

// end ends the child itself and has it reaped: by a parent that is in a call after
// that call.
func (p *Probe) end() error {
	err := p.use(func() error {
		unix.Shutdown(p.sock, unix.SHUT_RDWR)
		err := p.signal(unix.SIGKILL)
		if err == nil || err == unix.ESRCH {
			err = p.awaitEnd(time.Now().Add(max(p.timeout(), DefaultTimeout)))
		}
		return err
	})
	if err == os.ErrClosed {
		return nil
	}
	p.death.Lock()
	if err == nil && p.parent != nil && p.parent.busy() {
		p.parent.mu.Lock()
		p.parent.reapLater(p.pidAtParent())
		p.parent.mu.Unlock()
	} else if err == nil {
		p.reap()
	}
	p.death.Unlock()

	all.Lock()
	p.mu.Lock()
	p.life.Lock()
	if !p.closed {
		p.closed = true
		unix.Close(p.sock)
		unix.Close(p.pidfd)
	}
	p.life.Unlock()
	p.mu.Unlock()
	all.open = slices.DeleteFunc(all.open, func(q *Probe) bool { return q == p })
	all.Unlock()
	if err != nil {
		return p.wrap("close", err)
	}
	return nil
}

// use calls f while neither descriptor can be closed.
func (p *Probe) use(f func() error) error {
	p.life.RLock()
	defer p.life.RUnlock()
	if p.closed {
		return os.ErrClosed
	}
	return f()
}
