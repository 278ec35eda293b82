// Package forktest holds what the tests of every package share: a TestMain that
// plays the processes a test needs and fails the run on what they leave behind,
// and a wait with a watchdog.
package forktest

import (
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rawfork/internal/leftover"
)

// helperEnv names the helper that a process of the test binary is to play.
const helperEnv = "FORKTEST_HELPER"

var (
	helpers map[string]func()
	used    sync.Map // the names of the helpers that Command was asked for
)

// Main runs the tests of a package and exits. With helpers it is also the main
// function of the processes that [Command] starts.
//
// After the tests it fails the run when a process is left (a zombie, a child or,
// since the test process makes itself a subreaper, an orphan), when a descriptor
// is left open, or when a helper was never used.
func Main(m *testing.M, table map[string]func()) {
	if name := os.Getenv(helperEnv); name != "" {
		os.Unsetenv(helperEnv)
		table[name]()
		os.Exit(0)
	}
	helpers = table
	if err := becomeSubreaper(); err == syscall.EINVAL {
		// As qemu-user says, which doesn't know it: all else is tested there, too.
		fmt.Fprintln(os.Stderr, "forktest: this kernel knows no subreaper: orphans of the tests aren't seen")
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "forktest: subreaper:", err)
		os.Exit(1)
	}
	before := leftover.Descriptors()
	code := m.Run()
	if code == 0 {
		if left := leftovers(before); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "forktest: left behind by the tests:\n\t%s\n", strings.Join(left, "\n\t"))
			code = 1
		}
	}
	os.Exit(code)
}

// Playing tells whether this process is the helper of that name, for what has to
// happen before [Main], in an init function.
func Playing(name string) bool { return os.Getenv(helperEnv) == name }

// Command returns a command that runs the helper of that name, from the table
// that was given to [Main], in a process of its own.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	if helpers[name] == nil {
		t.Fatalf("no helper %q in the table of Main", name)
	}
	used.Store(name, true)
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+name)
	return cmd
}

// leftovers lists what the tests should have cleaned up.
func leftovers(before map[string]string) []string {
	var left []string
	if HaveChild() {
		for pid, what := range leftover.Children() {
			left = append(left, fmt.Sprintf("process %s %s", pid, what))
		}
	}
	for fd, target := range leftover.Descriptors() {
		if before[fd] == "" {
			left = append(left, "descriptor "+fd+": "+target)
		}
	}
	if !partial() {
		for name := range helpers {
			if _, ok := used.Load(name); !ok {
				left = append(left, "helper never used: "+name)
			}
		}
	}
	sort.Strings(left)
	return left
}

// partial tells whether only some of the tests were asked for.
func partial() bool {
	for _, arg := range os.Args[1:] {
		for _, flag := range []string{"run", "skip", "list", "short", "fuzz", "bench"} {
			name := strings.TrimPrefix(strings.TrimLeft(arg, "-"), "test.")
			if value, ok := strings.CutPrefix(name, flag+"="); ok && value != "" && value != "false" {
				return true
			}
		}
	}
	return false
}
