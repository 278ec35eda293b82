//go:build !(linux && (amd64 || arm64))

package probe

import (
	"errors"
	"fmt"
	"syscall"

	"rawfork/procstate"
)

// Probe is a child that does what its parent says. There are none here.
type Probe struct{}

// Fork forks a child that serves this process, on linux/amd64 and linux/arm64.
// Here it returns [errors.ErrUnsupported].
func Fork() (*Probe, error) { return nil, fmt.Errorf("probe: fork: %w", errors.ErrUnsupported) }

// State returns [errors.ErrUnsupported].
func (p *Probe) State() (*procstate.State, error) { return Self() }

// Self returns [errors.ErrUnsupported].
func Self() (*procstate.State, error) {
	return nil, fmt.Errorf("probe: state: %w", errors.ErrUnsupported)
}

// Pid returns 0.
func (p *Probe) Pid() int { return 0 }

// Kill returns [errors.ErrUnsupported].
func (p *Probe) Kill(syscall.Signal) error {
	return fmt.Errorf("probe: kill: %w", errors.ErrUnsupported)
}

// Close does nothing.
func (p *Probe) Close() error { return nil }
