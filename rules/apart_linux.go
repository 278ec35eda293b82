package rules

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// setApart has a process be in a process group of its own: what a terminal sends to this
// program's, this program passes on by closing its standard input.
func setApart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// adoptOrphans makes this process the one that reaps the orphans of its children.
func adoptOrphans() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// awaitEnd waits for the end of standard input, in the kernel: this process's poller may
// be deaf.
func awaitEnd() {
	for {
		n, err := unix.Read(0, make([]byte, 1))
		if n == 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}
