//go:build !unix

package rawfork

import (
	"errors"
	"syscall"
)

// start has nothing to start with: syscall.ForkExec is not there.
func (m Method) start(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	return 0, &ExecError{Method: m, Path: argv0, Err: errors.ErrUnsupported}
}
