//go:build cgo && (amd64 || arm64)

package rules

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/probe"
	"rawfork/procstate"
)

// A Process is a process that a check drives: a child of this program, which
// [T.Fork] makes, or a child of such a child, which [Process.Fork] makes. All of them
// are gone after the check.
//
// To see what a fork does to the state of a process, a check sets that state in one
// process of its own and has that one fork. It never changes this program's state.
type Process struct {
	*probe.Probe
	t *T
}

// timeout is how long a call of a process may take: one that takes so long hangs.
const timeout = 30 * time.Second

// Fork makes a child of this program by rawfork.Fork. It has none of the program's
// descriptors but 0, 1, 2 and those of keep.
func (t *T) Fork(keep ...int) *Process {
	p := t.ForkWhole()
	t.Must(p.KeepOnly(append([]int{0, 1, 2}, keep...)...))
	return p
}

// ForkWhole is Fork with all of the program's descriptors.
func (t *T) ForkWhole() *Process {
	p, err := probe.Fork()
	t.Must(err)
	p.SetTimeout(timeout)
	return t.adopt(p)
}

func (t *T) adopt(p *probe.Probe) *Process {
	stop := func() { p.Close() }
	t.Cleanup(stop)
	t.onInterrupt(stop)
	return &Process{p, t}
}

// Fork has the process fork.
func (p *Process) Fork() *Process {
	if wrong := p.t.wrong; wrong != nil {
		return wrong(p)
	}
	child, err := p.Probe.Fork()
	p.t.Must(err)
	return p.t.adopt(child)
}

// Clone has the process call clone(2) with flags and SIGCHLD.
func (p *Process) Clone(flags uint64) *Process {
	return p.CloneSignal(flags, unix.SIGCHLD)
}

// CloneSignal has the process call clone(2): the end of the child sends sig.
func (p *Process) CloneSignal(flags uint64, sig syscall.Signal) *Process {
	child, err := p.Probe.Clone(flags | uint64(sig))
	p.skipIfRefused("clone", err)
	p.t.Must(err)
	return p.t.adopt(child)
}

// TryFork has the process fork and returns the errno, 0 if there is a child; that one
// is ended and reaped.
func (p *Process) TryFork() syscall.Errno {
	child, err := p.Probe.Fork()
	if err != nil {
		return p.errno(err)
	}
	p.t.Must(child.Exit(0))
	_, err = child.Wait()
	p.t.Must(err)
	p.t.Must(child.Close())
	return 0
}

// Call has the process make a system call that must succeed.
func (p *Process) Call(trap uintptr, args ...any) int {
	r, err := p.Syscall(trap, args...)
	p.t.Must(err)
	return int(r)
}

// Errno has the process make a system call and returns its errno, 0 for success.
func (p *Process) Errno(trap uintptr, args ...any) syscall.Errno {
	_, err := p.Syscall(trap, args...)
	if err == nil {
		return 0
	}
	return p.errno(err)
}

// errno finds the errno in err. Without one, the check ends.
func (p *Process) errno(err error) syscall.Errno {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		p.t.Must(err)
	}
	return errno
}

// Need has the process make a system call without which there is nothing to see: what
// names it. Where the kernel doesn't have it or refuses it, the rule is skipped.
// With further errnos, which say the same of this call, they are given as skip.
func (p *Process) Need(what string, skip []syscall.Errno, trap uintptr, args ...any) int {
	r, err := p.Syscall(trap, args...)
	if err != nil {
		p.skipIfRefused(what, err, skip...)
		p.t.Must(fmt.Errorf("%s: %w", what, err))
	}
	return int(r)
}

func (p *Process) skipIfRefused(what string, err error, skip ...syscall.Errno) {
	for _, errno := range append(skip, unix.ENOSYS, unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.ENODEV) {
		if errors.Is(err, errno) {
			p.t.Skip("%s: %v", what, errno)
		}
	}
}

// End ends the process by exit_group(2). It stays a zombie until it is waited for.
func (p *Process) End(code int) { p.t.Must(p.Exit(code)) }

// Status waits for the process and returns its status.
func (p *Process) Status() syscall.WaitStatus {
	status, err := p.Wait()
	p.t.Must(err)
	return status
}

// EndAndReap ends the process and has its parent reap it.
func (p *Process) EndAndReap() {
	p.End(0)
	p.Status()
}

// Signal sends the process a signal.
func (p *Process) Signal(sig syscall.Signal) { p.t.Must(p.Kill(sig)) }

// Bytes returns n bytes of the memory of the process.
func (p *Process) Bytes(addr uintptr, n int) string {
	b, err := p.Peek(addr, n)
	p.t.Must(err)
	return string(b)
}

// Put writes to the memory of the process.
func (p *Process) Put(addr uintptr, text string) { p.t.Must(p.Poke(addr, []byte(text))) }

// Touch tells what a read of one byte at addr gives: 0, or EFAULT.
func (p *Process) Touch(addr uintptr) syscall.Errno {
	if _, err := p.Peek(addr, 1); err != nil {
		return p.errno(err)
	}
	return 0
}

// State reads what the process is from /proc.
func (p *Process) State(parts procstate.Parts) *procstate.State {
	s, err := procstate.ReadParts(p.Pid(), parts)
	p.t.Must(err)
	return s
}

// Text reads a file of /proc/PID.
func (p *Process) Text(name string) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.Pid(), name))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		p.t.Skip("%v", err)
	}
	p.t.Must(err)
	return string(text)
}

// Sleeps has the process make a call that blocks and waits until it sleeps there.
func (p *Process) Sleeps(trap uintptr, args ...any) *probe.Call {
	call := p.Start(trap, args...)
	p.t.Must(call.Blocked())
	return call
}

// get is [probe.Load] for checks.
func get[V any](p *Process, v *V) V {
	value, err := probe.Load(p.Probe, v)
	p.t.Must(err)
	return value
}

// set is [probe.Store] for checks.
func set[V any](p *Process, v *V, value V) { p.t.Must(probe.Store(p.Probe, v, value)) }

// Map maps length bytes of memory of its own in the process.
func (p *Process) Map(length, prot, flags, fd int) uintptr {
	addr, err := p.Mmap(length, prot, flags, fd)
	p.t.Must(err)
	return addr
}

// Dir makes a directory that is gone after the check.
func (t *T) Dir() string {
	dir, err := os.MkdirTemp("", "rawfork-rules")
	t.Must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
