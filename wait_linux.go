package rawfork

import (
	"fmt"
	"syscall"
)

// Wait wraps wait4(2): it waits until the child pid has ended, reaps it and
// returns its status, from which ExitStatus, Signaled, Signal and CoreDump can
// be asked. A wait that a signal interrupts is taken up again. ECHILD says that
// pid is no child of this process, or that it was reaped already.
//
// Wait takes one child, never any child: pid must be above 0. wait4(-1) would
// steal the statuses of children that os/exec and others wait for.
//
// Precondition: none; any goroutine may wait for a child that another forked.
func Wait(pid int) (syscall.WaitStatus, error) {
	if pid <= 0 {
		return 0, fmt.Errorf("wait4 %d: not the pid of one child: %w", pid, syscall.EINVAL)
	}
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if err == nil {
			return status, nil
		}
		if err != syscall.EINTR {
			return 0, fmt.Errorf("wait4 %d: %w", pid, err)
		}
	}
}
