//go:build !linux

package procstate

import (
	"errors"
	"fmt"
)

var openFlagNames []openFlagName

// Read reads the state of process pid from proc(5).
func Read(pid int) (*State, error) { return ReadParts(pid, All) }

// Self reads the state of this process from proc(5).
func Self() (*State, error) {
	return nil, fmt.Errorf("procstate: read self: %w", errors.ErrUnsupported)
}

// ReadParts reads the state of process pid, and of its larger parts those that
// are asked for.
func ReadParts(pid int, parts Parts) (*State, error) {
	return nil, fmt.Errorf("procstate: read %d: %w", pid, errors.ErrUnsupported)
}
