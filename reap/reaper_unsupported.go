//go:build !linux

package reap

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// Reaper reaps children on linux. Here none can be made.
type Reaper struct{}

// Child is a child that was handed to a Reaper. Here there is none.
type Child struct{}

// New always returns [errors.ErrUnsupported] here.
func New(Options) (*Reaper, error) { return nil, unsupported() }

// Add always returns [errors.ErrUnsupported] here.
func (r *Reaper) Add(pid int) (*Child, error) { return nil, unsupported() }

// Start always returns [errors.ErrUnsupported] here, and doesn't call start.
func (r *Reaper) Start(start func() (pid int, err error)) (*Child, error) { return nil, unsupported() }

// Pids returns nothing here.
func (r *Reaper) Pids() []int { return nil }

// Close does nothing here.
func (r *Reaper) Close() error { return nil }

// Pid returns -1 here.
func (c *Child) Pid() int { return -1 }

// Done returns nil here.
func (c *Child) Done() <-chan struct{} { return nil }

// Wait always returns [errors.ErrUnsupported] here.
func (c *Child) Wait(context.Context) (Exit, error) { return Exit{}, unsupported() }

// Signal always returns [errors.ErrUnsupported] here.
func (c *Child) Signal(syscall.Signal) error { return unsupported() }

// SignalGroup always returns [errors.ErrUnsupported] here.
func (c *Child) SignalGroup(syscall.Signal) error { return unsupported() }

func unsupported() error { return fmt.Errorf("reaper: %w", errors.ErrUnsupported) }
