// Package watchdog waits for children that may hang.
package watchdog

import (
	"fmt"
	"os"
	"strings"
)

// State is what /proc says of where a process hangs.
func State(pid int) string {
	var b strings.Builder
	for _, name := range []string{"status", "wchan", "syscall", "stack"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err == nil {
			fmt.Fprintf(&b, "-- %s\n%s\n", name, text)
		}
	}
	return b.String()
}
