package reap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/rawcall"
)

// Reaper reaps children. Its methods may be called from any number of goroutines.
type Reaper struct {
	onExit func(Exit)
	epoll  *os.File      // the set of the children's pidfds
	done   chan struct{} // closed when run has ended

	mu       sync.Mutex // a child in the map isn't reaped, and its pidfd is open
	children map[int]*Child
	closed   bool

	telling sync.Mutex   // one call of onExit at a time
	starts  sync.RWMutex // no orphan is taken while a child is being started
	orphans *orphans     // nil without Options.Orphans
}

// Child is a child that was handed to a Reaper.
type Child struct {
	reaper *Reaper
	pid    int
	pidfd  int // open as long as the child is in the map
	done   chan struct{}
	exit   Exit  // valid when done is closed
	err    error // the same
}

// New makes a Reaper, to be closed by [Reaper.Close]. A program may have several.
// ENOSYS says that the kernel has no pidfd's.
func New(options Options) (*Reaper, error) {
	if err := pidfdWorks(); err != nil {
		return nil, fmt.Errorf("reaper: %w", err)
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("reaper: %w", os.NewSyscallError("epoll_create1", err))
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or NewFile wouldn't poll it
		rawcall.Close(fd)
		return nil, fmt.Errorf("reaper: %w", os.NewSyscallError("fcntl", err))
	}
	r := &Reaper{
		onExit:   options.OnExit,
		epoll:    os.NewFile(uintptr(fd), "epoll of pidfds"),
		done:     make(chan struct{}),
		children: make(map[int]*Child),
	}
	if options.Orphans {
		if r.orphans, err = r.adopt(); err != nil {
			r.epoll.Close()
			return nil, fmt.Errorf("reaper: %w", err)
		}
	}
	go r.run()
	return r, nil
}

// pidfdWorks tells whether the kernel has all that a Reaper needs.
func pidfdWorks() error {
	fd, err := rawcall.PidfdOpen(os.Getpid())
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer rawcall.Close(fd)
	// ECHILD: this process is no child of its own. EINVAL: P_PIDFD isn't known.
	if _, _, err := waitPidfd(fd, unix.WNOWAIT); err != unix.ECHILD {
		return fmt.Errorf("waitid of a pidfd: %w", syscall.ENOSYS)
	}
	return nil
}

// Add hands the child pid over: the Reaper, and nobody else, waits for it. It may
// have ended already.
//
// Errors: EINVAL for a pid that is not above 0, ESRCH for one that no process has,
// ECHILD for one that is no child of this process or was reaped by somebody else,
// EEXIST for one that was handed over before, EMFILE and ENFILE when there is no
// descriptor for the pidfd, ErrClosed. After an error the child, if there is one, is
// still the caller's.
func (r *Reaper) Add(pid int) (*Child, error) {
	child, err := r.add(pid)
	if err != nil {
		return nil, fmt.Errorf("reap child %d: %w", pid, err)
	}
	return child, nil
}

func (r *Reaper) add(pid int) (*Child, error) {
	if pid <= 0 {
		return nil, syscall.EINVAL
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if r.children[pid] != nil {
		return nil, syscall.EEXIST
	}
	fd, err := rawcall.PidfdOpen(pid)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	if _, _, err := waitPidfd(fd, unix.WNOWAIT); err != nil {
		rawcall.Close(fd)
		return nil, os.NewSyscallError("waitid", err)
	}
	// Edge-triggered: a zombie that somebody traces can't be taken before he is done,
	// of which there is another event.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(pid)}
	if err := r.control(unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		rawcall.Close(fd)
		return nil, err
	}
	child := &Child{reaper: r, pid: pid, pidfd: fd, done: make(chan struct{})}
	r.children[pid] = child
	return child, nil
}

// Start calls start, which makes a child and returns its pid, and hands the child
// over. What start returns as an error, Start returns as it is. When the child can't
// be handed over (see [Reaper.Add]), it is killed and waited for: there is none left.
//
// With Options.Orphans this is how children are started that package os doesn't
// start: one that ended between its fork and an Add could be taken for an orphan.
//
// Precondition: start doesn't return in the child.
func (r *Reaper) Start(start func() (pid int, err error)) (*Child, error) {
	r.starts.RLock()
	defer r.starts.RUnlock()
	pid, err := start()
	if err != nil {
		return nil, err
	}
	child, err := r.Add(pid)
	if err != nil && pid > 0 && !errors.Is(err, syscall.EEXIST) && !errors.Is(err, syscall.ECHILD) {
		syscall.Kill(pid, syscall.SIGKILL)
		rawfork.Wait(pid)
	}
	return child, err
}

// Pids returns the pids of the children that were handed over and not reaped yet, in
// no order.
func (r *Reaper) Pids() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	pids := make([]int, 0, len(r.children))
	for pid := range r.children {
		pids = append(pids, pid)
	}
	return pids
}

// Close ends the reaping. Children that have not been reaped by then are the
// caller's again; waits for them return ErrClosed. With Options.Orphans the process
// is no longer a subreaper, unless it was one before. Orphans that have not ended
// stay its children. A second Close does nothing.
func (r *Reaper) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		<-r.done
		return nil
	}
	r.closed = true
	for _, child := range r.children {
		child.err = fmt.Errorf("reap child %d: %w", child.pid, ErrClosed)
		r.forget(child)
	}
	r.mu.Unlock()
	err := r.epoll.Close()
	<-r.done
	if r.orphans != nil {
		err = errors.Join(err, r.orphans.stop())
	}
	return err
}

// run reaps until the set is closed.
func (r *Reaper) run() {
	defer close(r.done)
	var events [64]unix.EpollEvent
	conn, err := r.epoll.SyscallConn()
	if err != nil {
		return // closed already
	}
	conn.Read(func(fd uintptr) bool {
		for {
			n, err := rawcall.EpollWait(int(fd), events[:], 0)
			if err != nil || n == 0 {
				return false // until the poller says that there is more
			}
			for _, event := range events[:n] {
				r.ended(int(event.Fd))
			}
		}
	})
}

// ended reaps a child that has ended, unless it is somebody else's turn: see add.
func (r *Reaper) ended(pid int) {
	r.mu.Lock()
	child := r.children[pid]
	if child == nil {
		r.mu.Unlock()
		return
	}
	exit, ok, err := waitPidfd(child.pidfd, 0)
	if err == nil && !ok {
		r.mu.Unlock()
		return
	}
	if err != nil {
		err = fmt.Errorf("reap child %d: %w", child.pid, os.NewSyscallError("waitid", err))
	}
	child.exit, child.err = exit, err
	r.forget(child)
	r.mu.Unlock()
	if err == nil {
		r.tell(exit)
	}
}

// tell calls OnExit.
func (r *Reaper) tell(exit Exit) {
	if r.onExit != nil {
		r.telling.Lock()
		defer r.telling.Unlock()
		r.onExit(exit)
	}
}

// forget lets go of a child whose end is known. r.mu is held.
func (r *Reaper) forget(child *Child) {
	// Not by the close alone: the set keeps what another process still has open, and
	// a forked child may have a copy of this pidfd.
	r.control(unix.EPOLL_CTL_DEL, child.pidfd, nil)
	rawcall.Close(child.pidfd)
	delete(r.children, child.pid)
	close(child.done)
}

func (r *Reaper) control(op, fd int, event *unix.EpollEvent) error {
	return rawfork.WithFD(r.epoll, func(epoll int) error {
		return os.NewSyscallError("epoll_ctl", rawcall.EpollCtl(epoll, op, fd, event))
	})
}

// Pid returns the child's pid. Once it is reaped, another process may have it.
func (c *Child) Pid() int { return c.pid }

// Done returns a channel that is closed when the child is reaped, or can't be.
func (c *Child) Done() <-chan struct{} { return c.done }

// Wait waits until the child is reaped, and tells how it ended; any number of calls
// tell the same. Errors: that of ctx when it is done first, and the child goes on to
// be the Reaper's; ECHILD when somebody else has taken the child's status; ErrClosed.
func (c *Child) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-c.done:
		return c.exit, c.err
	default:
	}
	select {
	case <-c.done:
		return c.exit, c.err
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("reap child %d: %w", c.pid, context.Cause(ctx))
	}
}

// Signal sends the child a signal. It never reaches another process: once the child
// is reaped, the error is [os.ErrProcessDone].
func (c *Child) Signal(sig syscall.Signal) error {
	return c.signal("pidfd_send_signal", func() error { return unix.PidfdSendSignal(c.pidfd, sig, nil, 0) })
}

// SignalGroup is Signal for all processes of the group that the child leads, as one
// that was started with Setpgid or Setsid does. ESRCH says that it leads none.
func (c *Child) SignalGroup(sig syscall.Signal) error {
	return c.signal("kill", func() error { return unix.Kill(-c.pid, sig) })
}

// signal sends a signal while the child can't be reaped.
func (c *Child) signal(call string, send func() error) error {
	c.reaper.mu.Lock()
	defer c.reaper.mu.Unlock()
	err := error(os.ErrProcessDone)
	if c.reaper.children[c.pid] == c {
		err = os.NewSyscallError(call, send())
	}
	if err != nil {
		return fmt.Errorf("signal child %d: %w", c.pid, err)
	}
	return nil
}

// waitPidfd takes the status of a process that has ended; ok is false when it hasn't.
// With WNOWAIT in options it is left to be reaped.
func waitPidfd(fd, options int) (exit Exit, ok bool, err error) {
	var usage syscall.Rusage
	pid, status, err := rawcall.WaitPidfd(fd, options, &usage)
	if err != nil || pid == 0 {
		return Exit{}, false, err
	}
	return Exit{Pid: pid, Status: status, Usage: usage, Time: time.Now()}, true, nil
}
