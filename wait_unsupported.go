//go:build !linux

package rawfork

import (
	"errors"
	"fmt"
	"syscall"
)

// Wait wraps wait4(2) on linux. Here it always returns [errors.ErrUnsupported].
func Wait(pid int) (syscall.WaitStatus, error) {
	var status syscall.WaitStatus
	return status, fmt.Errorf("wait4 %d: %w", pid, errors.ErrUnsupported)
}
