//go:build cgo && (amd64 || arm64)

package rules

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroup makes a control group that counts processes, by version 1 or 2, whichever is
// there. It is removed after the check.
func (t *T) cgroup() (dir string) {
	var tried []string
	for _, parent := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		dir, err := os.MkdirTemp(parent, "rawfork-rules")
		if err == nil {
			// Removing it works once its processes have ended: it comes before them in
			// the list, and so after them.
			t.Cleanup(func() { os.Remove(dir) })
			if _, err = os.Stat(filepath.Join(dir, "pids.max")); err == nil {
				return dir
			}
		}
		tried = append(tried, err.Error())
	}
	t.Skip("no control group for pids: %s", strings.Join(tried, "; "))
	return ""
}

// enter moves a process into a control group.
func (t *T) enter(dir string, p *Process) {
	t.writeFile(filepath.Join(dir, "cgroup.procs"), decimal(p.Pid()))
}

// leave moves a process to the group above.
func (t *T) leave(dir string, p *Process) { t.enter(filepath.Dir(dir), p) }

// member tells whether a process is in a control group.
func (t *T) member(dir string, p *Process) bool {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	t.Must(err)
	return slices.Contains(strings.Fields(string(text)), decimal(p.Pid()))
}

// writeFile writes to a file of the kernel's. Where that isn't allowed the rule is
// skipped.
func (t *T) writeFile(path, text string) {
	err := os.WriteFile(path, []byte(text), 0)
	for _, errno := range []syscall.Errno{unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOENT, unix.EBUSY} {
		if errors.Is(err, errno) {
			t.Skip("%v", err)
		}
	}
	t.Must(err)
}
