package watchdog

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// deadlocked tells whether the process pid can't go on by itself: each of its threads
// waits, without a time limit, for another thread of the process to wake it. It is
// false where the kernel doesn't tell what a thread waits for.
func deadlocked(pid int) bool {
	waits := privateWaits(pid)
	// Who waits in both looks, and hasn't run between them, waited all the time: so
	// there is a moment at which all threads did.
	return waits != "" && waits == privateWaits(pid)
}

// privateWaits is what the threads of a process wait for, with the number of times that
// each has gone to sleep. It is "" unless all of them wait for private futexes without
// a time limit.
func privateWaits(pid int) string {
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	threads, _ := os.ReadDir(tasks)
	var b strings.Builder
	for _, thread := range threads {
		call, _ := os.ReadFile(tasks + "/" + thread.Name() + "/syscall")
		if !isPrivateWait(string(call)) {
			return ""
		}
		status, _ := os.ReadFile(tasks + "/" + thread.Name() + "/status")
		_, switches, found := bytes.Cut(status, []byte("\nvoluntary_ctxt_switches:"))
		if !found {
			return ""
		}
		b.Write(call)
		b.Write(switches)
	}
	return b.String()
}

// isPrivateWait tells whether a line of /proc/PID/syscall is futex(2)'s, called to wait
// in memory that no other process has, and without a time limit.
func isPrivateWait(line string) bool {
	const (
		wait, waitBitset = 0, 9
		private          = 128
	)
	var number, address, op, value, timeout uint64
	_, err := fmt.Sscanf(line, "%d 0x%x 0x%x 0x%x 0x%x", &number, &address, &op, &value, &timeout)
	return err == nil && number == unix.SYS_FUTEX && timeout == 0 && (op == private|wait || op == private|waitBitset)
}
