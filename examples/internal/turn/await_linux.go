package turn

import (
	"os"

	"golang.org/x/sys/unix"
)

// AwaitEnd waits in the parent until the child pid has ended, and doesn't reap
// it: the child stays a zombie.
func AwaitEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("waitid", err)
		}
	}
}
