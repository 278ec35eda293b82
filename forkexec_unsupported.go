//go:build unix && !(linux && cgo && (amd64 || arm64))

package rawfork

import (
	"errors"
	"syscall"
)

// start has only the reference where there is no fork.
func (m Method) start(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	if m != BySyscall {
		return 0, &ExecError{Method: m, Path: argv0, Err: errors.ErrUnsupported}
	}
	pid, err = syscall.ForkExec(argv0, argv, attr)
	if err != nil {
		return 0, &ExecError{Method: m, Path: argv0, Err: err}
	}
	return pid, nil
}
