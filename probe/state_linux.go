//go:build amd64 || arm64

package probe

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"rawfork/procstate"
)

// errReaped is both errors that say "no such process" in Go, as procstate has it.
var errReaped = fmt.Errorf("%w (%w)", os.ErrProcessDone, unix.ESRCH)

// State reads what the child is from proc(5), as [procstate.Read] does. The
// child isn't asked: it may be in a call, or have ended and not been reaped. Its
// descriptor of the probe is left out.
//
// A child that was reaped is an error that is both [os.ErrProcessDone] and ESRCH.
func (p *Probe) State() (s *procstate.State, err error) {
	err = p.use(func() error {
		if s, err = procstate.Read(p.pid); err != nil {
			return err
		}
		// As long as there is somebody to send a signal to the pid was the child's.
		if err = p.signal(0); err == unix.ESRCH {
			err = errReaped
		}
		return err
	})
	if err != nil {
		return nil, p.wrap("state", err)
	}
	delete(s.Descriptors, p.theirs)
	return s, nil
}

// Self reads what this process is, as [procstate.Self] does, without the
// descriptors of its probes. So it compares well with the State of a child. The Go
// runtime makes descriptors for its poller when a file is first read, as by Self: call
// it once before the fork when there may have been none.
func Self() (*procstate.State, error) {
	all.Lock()
	defer all.Unlock()
	s, err := procstate.Self()
	if err != nil {
		return nil, err
	}
	for _, p := range all.open {
		delete(s.Descriptors, p.sock)
		delete(s.Descriptors, p.pidfd)
	}
	return s, nil
}
