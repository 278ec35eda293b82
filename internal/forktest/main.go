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
	"testing"
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
	if err := becomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, "forktest: subreaper:", err)
		os.Exit(1)
	}
	before := descriptors()
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
		left = append(left, processes()...)
	}
	for fd, target := range descriptors() {
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

// descriptors lists the open descriptors that the Go runtime didn't make for
// itself: epoll and eventfd are the poller's.
func descriptors() map[string]string {
	open := map[string]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil { // the descriptor of this very listing
			continue
		}
		if target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			continue
		}
		open[e.Name()] = target
	}
	return open
}

// processes describes every child of this process, dead or alive.
func processes() []string {
	var found []string
	self := fmt.Sprint(os.Getpid())
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		end := strings.LastIndexByte(string(stat), ')')
		fields := strings.Fields(string(stat)[end+1:])
		if len(fields) > 1 && fields[1] == self {
			found = append(found, fmt.Sprintf("process %s, state %s", string(stat)[:end+1], fields[0]))
		}
	}
	return found
}
