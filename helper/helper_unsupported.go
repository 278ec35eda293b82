//go:build !(linux && cgo && (amd64 || arm64))

package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"rawfork"
)

// Helper is a running helper process on linux with cgo. Here none can be made.
type Helper struct{}

// Init notes that it was called. There are no children here that it could run.
func Init() { markInitialised() }

// Start always returns [errors.ErrUnsupported] here.
func Start(Options) (*Helper, error) {
	return nil, fmt.Errorf("helper start: %w", errors.ErrUnsupported)
}

// Pid returns -1 here.
func (h *Helper) Pid() int { return -1 }

// Err always returns [errors.ErrUnsupported] here.
func (h *Helper) Err() error { return errors.ErrUnsupported }

// WaitReady always returns [errors.ErrUnsupported] here.
func (h *Helper) WaitReady(context.Context) error { return errors.ErrUnsupported }

// Close does nothing here.
func (h *Helper) Close() error { return nil }

// Go always returns [errors.ErrUnsupported] here.
func (h *Helper) Go(name string, files ...*os.File) (*os.Process, error) {
	return nil, fmt.Errorf("helper go %q: %w", name, errors.ErrUnsupported)
}

// ForkExec always returns [errors.ErrUnsupported] here.
func (h *Helper) ForkExec(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	return 0, &rawfork.ExecError{Method: rawfork.ByHelper, Path: argv0, Err: errors.ErrUnsupported}
}
