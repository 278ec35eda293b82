//go:build amd64 || arm64

package probe

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disposition is what a process does with a signal: SIG_DFL, SIG_IGN, or the
// address of a handler.
type Disposition uintptr

// The dispositions that can be set. [Count] is the third.
const (
	Default Disposition = 0 // SIG_DFL
	Ignore  Disposition = 1 // SIG_IGN
)

// Count is a handler, in C, that counts the signals that it gets: see
// [Probe.Handled]. The count is memory of the process: a fork copies it.
var Count = Disposition(countHandler)

// String is "default", "ignore", "count", or the address of another handler.
func (d Disposition) String() string {
	switch d {
	case Default:
		return "default"
	case Ignore:
		return "ignore"
	case Count:
		return "count"
	}
	return fmt.Sprintf("handler at %#x", uintptr(d))
}

// Action is struct sigaction without its restorer. Flags are SA_RESTART and its
// like. In Mask bit n-1 is signal n, as in all masks here: see [Mask].
type Action struct {
	Handler Disposition
	Flags   uint64
	Mask    uint64
}

// Flags that [Probe.Sigaction] sets by itself; x/sys has no names for them.
const (
	saRestorer = 0x04000000
	saOnStack  = 0x08000000
)

// sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler, flags, restorer, mask uint64
}

// Sigaction wraps sigaction(2): it sets the disposition of sig in the child to
// action, unless that is nil, and returns what it was. With a handler SA_ONSTACK
// is set too, and SA_RESTORER where the kernel asks for it. Old shows the flags
// as the kernel keeps them.
func (p *Probe) Sigaction(sig syscall.Signal, action *Action) (old Action, err error) {
	var set *sigaction
	if action != nil {
		set = &sigaction{handler: uint64(action.Handler), flags: action.Flags, mask: action.Mask}
		if action.Handler > Ignore {
			set.flags |= saOnStack
			if countRestorer != 0 {
				set.flags |= saRestorer
				set.restorer = uint64(countRestorer)
			}
		}
	}
	var was sigaction
	_, err = p.call("sigaction", unix.SYS_RT_SIGACTION, int(sig), set, &was, unsafe.Sizeof(was.mask))
	return Action{Disposition(was.handler), was.flags, was.mask}, err
}

// Handled returns how often [Count] ran for sig in the child's memory: in the
// child, and in those from which it is forked.
func (p *Probe) Handled(sig syscall.Signal) (int, error) {
	const width = 8
	b, err := p.Peek(counts+uintptr(sig)*width, width)
	if err != nil {
		return 0, err
	}
	return int(*(*uint64)(unsafe.Pointer(unsafe.SliceData(b)))), nil
}

// Mask is the set of sigs, as the kernel writes it: bit n-1 is signal n.
func Mask(sigs ...syscall.Signal) (mask uint64) {
	for _, sig := range sigs {
		mask |= 1 << (sig - 1)
	}
	return mask
}

// Sigprocmask wraps sigprocmask(2): how is SIG_BLOCK, SIG_UNBLOCK or SIG_SETMASK.
// It returns the mask as it was; Sigprocmask(unix.SIG_BLOCK, 0) only asks.
func (p *Probe) Sigprocmask(how int, mask uint64) (old uint64, err error) {
	_, err = p.call("sigprocmask", unix.SYS_RT_SIGPROCMASK, how, &mask, &old, unsafe.Sizeof(old))
	return old, err
}

// Sigpending wraps sigpending(2): the signals that wait to be unblocked, sent to
// the process or to its thread.
func (p *Probe) Sigpending() (pending uint64, err error) {
	_, err = p.call("sigpending", unix.SYS_RT_SIGPENDING, &pending, unsafe.Sizeof(pending))
	return pending, err
}

// Raise has the child send itself a signal by kill(2), as a process. A signal
// that is not blocked has come when Raise returns; one that ends the child gives
// a [*DeadError].
func (p *Probe) Raise(sig syscall.Signal) error {
	pid, err := p.Getpid()
	if err == nil {
		_, err = p.call(fmt.Sprintf("raise %v", sig), unix.SYS_KILL, pid, int(sig))
	}
	return err
}

// RaiseThread is [Probe.Raise] by tgkill(2): the signal is sent to the child's
// thread, not to the process, which makes a difference while it is pending.
func (p *Probe) RaiseThread(sig syscall.Signal) error {
	pid, err := p.Getpid()
	if err != nil {
		return err
	}
	tid, err := p.Gettid()
	if err == nil {
		_, err = p.call(fmt.Sprintf("tgkill %v", sig), unix.SYS_TGKILL, pid, tid, int(sig))
	}
	return err
}
