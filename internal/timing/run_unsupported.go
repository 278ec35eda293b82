//go:build !linux

package timing

import (
	"errors"
	"fmt"
	"syscall"

	"rawfork"
)

// Run runs a program where there is a fork. Here it always returns
// [errors.ErrUnsupported].
func (p *Program) Run() (Run, error) {
	return Run{}, fmt.Errorf("exec %s: %w", p.Path, errors.ErrUnsupported)
}

// PeakFloor measures where there is a fork. Here it always returns
// [errors.ErrUnsupported].
func PeakFloor(rawfork.Method) (int64, error) { return 0, errors.ErrUnsupported }

func signalName(sig syscall.Signal) string { return sig.String() }
