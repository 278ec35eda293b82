//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DeadError is what a call to a child gives that has ended.
type DeadError struct {
	Pid int
	// Status says how the child ended. It is there when Known is true: the
	// child's parent is asked, which may be busy, dead or not interested itself.
	Status syscall.WaitStatus
	Known  bool
}

// Error says how the child ended, where that is known.
func (e *DeadError) Error() string {
	switch {
	case !e.Known:
		return fmt.Sprintf("child %d is dead", e.Pid)
	case e.Status.Signaled():
		return fmt.Sprintf("child %d was killed by signal %d, %v", e.Pid, e.Status.Signal(), e.Status.Signal())
	}
	return fmt.Sprintf("child %d ended with exit status %d", e.Pid, e.Status.ExitStatus())
}

var (
	errExeced     = errors.New("the child serves no more, it has called exec")
	errUnserving  = errors.New("the child lives and has closed its end of the socket")
	errLostStatus = errors.New("its parent is gone, who reaps it is not known")
)

// Wait waits until the child has ended, for as long as [Probe.SetTimeout] says,
// has its parent reap it, and returns its status. Another Wait returns the same.
// The parent is this process, or the probe that forked the child: that one must
// not be in another call. After the parent's death this process can only reap if
// it is a subreaper.
func (p *Probe) Wait() (syscall.WaitStatus, error) {
	p.death.Lock()
	defer p.death.Unlock()
	if p.reaped {
		return p.status, nil
	}
	err := p.use(func() error { return p.awaitEnd(time.Now().Add(p.timeout())) })
	if err == nil {
		err = p.reap()
	}
	if err != nil {
		return 0, p.wrap("wait", err)
	}
	return p.status, nil
}

// awaitEnd waits for the child's end. It doesn't reap.
func (p *Probe) awaitEnd(deadline time.Time) error {
	return poll(deadline, unix.PollFd{Fd: int32(p.pidfd), Events: unix.POLLIN})
}

// ended tells whether the child has ended.
func (p *Probe) ended() bool {
	return p.pidfd >= 0 && p.awaitEnd(time.Now()) == nil
}

// reap takes the status of a child that has ended. The caller holds p.death.
func (p *Probe) reap() error {
	if p.reaped {
		return nil
	}
	if p.parent != nil {
		var status uint32
		_, err := p.parent.call("wait4", unix.SYS_WAIT4, p.pidAtParent(), &status, unix.WNOHANG|unix.WALL, 0)
		var dead *DeadError
		if err == nil {
			p.reaped, p.status = true, syscall.WaitStatus(status)
			return nil
		}
		if !errors.As(err, &dead) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, unix.ECHILD) {
			return err
		}
	}
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(p.pid, &status, unix.WNOHANG|unix.WALL, nil)
	switch {
	case err == nil && pid == p.pid:
		p.reaped, p.status = true, status
		return nil
	case p.parent != nil:
		return errLostStatus
	}
	return os.NewSyscallError("wait4", err)
}

// reapOrphan reaps the child of a parent that has ended, where this process is
// the subreaper: init does it elsewhere. So it does with that one's own children,
// who may have had another reaper until now.
func (p *Probe) reapOrphan() {
	p.death.Lock()
	if p.parent != nil {
		p.reap()
	}
	p.death.Unlock()
	for _, kid := range p.children() {
		kid.reapOrphan()
	}
}

// pidAtParent is the child's pid as its parent sees it, in another pid namespace
// maybe.
func (p *Probe) pidAtParent() int {
	if c := p.born; c.done && c.err == nil {
		return int(c.result)
	}
	return p.pid
}

// busy tells whether p is in a call whose end is not known.
func (p *Probe) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.queue); n > 0 {
		p.receiveUntil(p.queue[n-1], time.Now()) // takes the replies that are there
	}
	return len(p.queue) > 0 && !p.queue[0].forks
}

// causeOfDeath is the error of a child whose end of the socket is closed. It
// closes it just before its end: the status may be a moment away.
func (p *Probe) causeOfDeath(deadline time.Time) error {
	p.death.Lock()
	defer p.death.Unlock()
	if p.reaped {
		return &DeadError{Pid: p.pid, Status: p.status, Known: true}
	}
	return p.use(func() error {
		if err := p.awaitEnd(deadline); err == os.ErrDeadlineExceeded {
			return errUnserving
		} else if err != nil {
			return err
		}
		status, ok := p.peekStatus()
		return &DeadError{Pid: p.pid, Status: status, Known: ok}
	})
}

// peekStatus is the status of a child that has ended, and stays a zombie.
func (p *Probe) peekStatus() (status syscall.WaitStatus, ok bool) {
	var info unix.Siginfo
	const peek = unix.WEXITED | unix.WNOHANG | unix.WNOWAIT | unix.WALL
	var err error
	switch {
	case p.parent == nil:
		err = unix.Waitid(unix.P_PIDFD, p.pidfd, &info, peek, nil)
	case p.parent.busy():
		return 0, false
	default:
		_, err = p.parent.call("waitid", unix.SYS_WAITID, unix.P_PID, p.pidAtParent(), &info, peek, 0)
	}
	if err != nil {
		return 0, false
	}
	return siginfo(&info).waitStatus()
}

// Siginfo is the part of siginfo_t that waitid(2) fills.
type Siginfo struct {
	Signal syscall.Signal // SIGCHLD, 0 when there is nothing to tell
	Code   int            // CldExited and so on
	Pid    int            // as the waiting process sees it
	UID    int            // the child's real user id
	Status int            // exit status for CldExited, else the number of a signal
}

// What a [Siginfo] has in Code; x/sys has no names for them.
const (
	CldExited = iota + 1
	CldKilled
	CldDumped
	CldTrapped
	CldStopped
	CldContinued
)

// siginfo gives names to what is in info.
func siginfo(info *unix.Siginfo) Siginfo {
	i := (*struct{ signo, errno, code, _, pid, uid, status int32 })(unsafe.Pointer(info))
	return Siginfo{syscall.Signal(i.signo), int(i.code), int(i.pid), int(i.uid), int(i.status)}
}

// waitStatus is the status of wait4 that says the same of a child that ended.
func (i Siginfo) waitStatus() (status syscall.WaitStatus, ok bool) {
	const coreFlag = 0x80
	switch i.Code {
	case CldExited:
		return syscall.WaitStatus(i.Status&0xff) << 8, true
	case CldKilled:
		return syscall.WaitStatus(i.Status), true
	case CldDumped:
		return syscall.WaitStatus(i.Status | coreFlag), true
	}
	return 0, false
}

// Kill sends the child a signal, by its pidfd. It can't hit a later process of
// the same pid, and works while the child is in a call.
func (p *Probe) Kill(sig syscall.Signal) error {
	if err := p.use(func() error { return p.signal(sig) }); err != nil {
		return p.wrap(fmt.Sprintf("kill %v", sig), err)
	}
	return nil
}

func (p *Probe) signal(sig syscall.Signal) error {
	return unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
}

// Exit ends the child by exit_group(2) and returns when it has ended. It remains
// a zombie until [Probe.Wait] or [Probe.Close].
func (p *Probe) Exit(code int) error {
	c := p.startSyscall("exit_group", unix.SYS_EXIT_GROUP, []any{code})
	_, err := c.Wait()
	var dead *DeadError
	if errors.As(err, &dead) && errors.Is(c.err, errGone) {
		return nil
	}
	return err
}

// Exec has the child call execve(2). The path isn't searched for in PATH; argv[0]
// is the program's own name by custom, env its whole environment. A failed call
// leaves the child as it was. After success the child serves no more: its calls
// fail, [Probe.Kill], [Probe.Wait] and [Probe.Close] remain.
func (p *Probe) Exec(path string, argv, env []string) error {
	data, args, err := image(path, argv, env)
	if err != nil {
		return p.wrap("execve "+path, err)
	}
	q := request{op: opSyscall, trap: unix.SYS_EXECVE, args: args, in: region{scratch(), uintptr(len(data))}}
	c := p.start("execve "+path, q, data, -1)
	p.mu.Lock()
	sent := !c.done
	err = p.receiveUntil(c, time.Now().Add(p.timeout()))
	if err == nil && sent && c.err == errGone { // close-on-exec closed its end
		p.execed = true
	}
	execed := p.execed
	p.mu.Unlock()
	switch {
	case err != nil:
		return p.wrap(c.name, err)
	case execed && sent:
		return nil
	}
	_, err = c.Wait()
	return err
}

// image lays out the arguments of execve in scratch.
func image(path string, argv, env []string) (data []byte, args [6]uintptr, err error) {
	at := func(s string) (addr uintptr, err error) {
		b, err := syscall.ByteSliceFromString(s)
		if err != nil {
			return 0, fmt.Errorf("string %q with a NUL byte: %w", s, err)
		}
		addr = scratch() + uintptr(len(data))
		data = append(data, b...)
		return addr, nil
	}
	var vectors [2][]uintptr
	for i, strings := range [][]string{argv, env} {
		for _, s := range strings {
			addr, err := at(s)
			if err != nil {
				return nil, args, err
			}
			vectors[i] = append(vectors[i], addr)
		}
	}
	if args[0], err = at(path); err != nil {
		return nil, args, err
	}
	for i, vector := range vectors {
		data = append(data, make([]byte, -len(data)&(align-1))...)
		args[1+i] = scratch() + uintptr(len(data))
		for _, addr := range append(vector, 0) {
			data = append(data, bytesOf(&addr)...)
		}
	}
	if len(data) > maxData {
		return nil, args, fmt.Errorf("%d bytes of path, arguments and environment: %w", len(data), syscall.E2BIG)
	}
	return data, args, nil
}
