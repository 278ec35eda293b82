package forktest

import (
	"fmt"
	"os"
	"testing"
)

// DescriptorsOf counts the open descriptors of a process. For this process that is one
// more, by which they are listed.
func DescriptorsOf(t testing.TB, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
