package forktest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// PidsCgroup makes a control group that counts processes, of version 1 or 2, and
// removes it after the test, when its processes must be reaped. It skips the test
// where none can be made.
func PidsCgroup(t testing.TB) (dir string) {
	t.Helper()
	var tried []error
	for _, root := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		dir, err := os.MkdirTemp(root, "rawfork-test-")
		if err != nil {
			tried = append(tried, err)
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "pids.max")); err != nil {
			os.Remove(dir)
			tried = append(tried, err)
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	t.Skip("no control group can be made that counts processes: ", errors.Join(tried...))
	return ""
}
