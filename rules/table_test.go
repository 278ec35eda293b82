//go:build linux && cgo && (amd64 || arm64)

package rules_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/internal/forktest"
	"rawfork/procstate"
	"rawfork/rules"
)

const (
	getppid = unix.SYS_GETPPID
	ppoll   = unix.SYS_PPOLL
)

var update = flag.Bool("update", false, "write testdata/assertions.txt anew")

// assertions lists what each rule asserts. A skipped rule asserts less.
const assertions = "testdata/assertions.txt"

// Every rule holds, or says why it can't be seen here; and each asserts what it is
// recorded to assert.
func TestRules(t *testing.T) {
	recorded, skips := readAssertions(t), readSkips(t)
	var written, skipped strings.Builder
	for _, rule := range rules.Rules() {
		t.Run(rule.ID, func(t *testing.T) {
			result := rules.Check(context.Background(), rule)
			for _, failure := range result.Failures() {
				t.Error(failure)
			}
			if forktest.HaveChild() {
				t.Error("it has left a child")
			}
			var names []string
			for _, a := range result.Assertions {
				names = append(names, a.Name)
			}
			want := recorded[rule.ID]
			if result.Outcome == rules.Skipped {
				if err := skips.check(rule.ID, result.Reason); err != nil && !*update {
					t.Error(err)
				}
				fmt.Fprintf(&skipped, "%s: %s\n", rule.ID, result.Reason)
				if *update {
					names = want
				}
				want = want[:min(len(want), len(names))]
			}
			fmt.Fprintf(&written, "%s\n", rule.ID)
			for _, name := range names {
				fmt.Fprintf(&written, "\t%s\n", name)
			}
			if diff := cmp.Diff(want, names); diff != "" && !*update {
				t.Errorf("what is asserted is not what is recorded (-want +got):\n%s", diff)
			}
			delete(recorded, rule.ID)
			if result.Outcome == rules.Skipped {
				t.Skip(result.Reason)
			}
		})
	}
	if *update {
		for path, text := range map[string]string{assertions: written.String(), skipsFile: place(t) + "\n" + skipped.String()} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if flag.Lookup("test.run").Value.String() == "" {
		for id := range recorded {
			t.Errorf("the recorded rule %s is gone", id)
		}
	}
}

func readAssertions(t *testing.T) map[string][]string {
	text, err := os.ReadFile(assertions)
	if err != nil && !*update {
		t.Fatal(err)
	}
	recorded := map[string][]string{}
	id := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "\t"); ok {
			recorded[id] = append(recorded[id], name)
		} else {
			id = line
			recorded[id] = nil
		}
	}
	return recorded
}

// skipsFile says which rules were skipped, and why, when the table was recorded; its
// first line, where that was.
const skipsFile = "testdata/skips.txt"

// skips are what a file of skips says.
type skips struct {
	here    bool // it was recorded in a place like this
	reasons map[string]string
}

// check finds a skip that isn't recorded: where the table was recorded, a rule that is
// skipped for another reason than it was then has lost its assertions. Elsewhere a
// kernel may lack more, or a user may do less. What can be otherwise on one kernel, for
// a user who may do everything, is known here.
func (s skips) check(id, reason string) error {
	if !s.here || s.reasons[id] == reason {
		return nil
	}
	for _, other := range []string{"no control group for pids: ", "/proc/sys/vm/overcommit_memory is ", "this program may run on ",
		"open /dev/shm/", "open /dev/ptmx: ", "/sys/fs/cgroup/", "libc has no _Fork"} {
		if strings.Contains(reason, other) {
			return nil
		}
	}
	return fmt.Errorf("skipped: %s; recorded is %q (%s)", reason, s.reasons[id], skipsFile)
}

func readSkips(t *testing.T) skips {
	text, err := os.ReadFile(skipsFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	where, rest, _ := strings.Cut(string(text), "\n")
	s := skips{where == place(t), map[string]string{}}
	for line := range strings.Lines(rest) {
		id, reason, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		s.reasons[id] = reason
	}
	return s
}

// place is what decides which rules can be seen: the kernel, and what this program may.
func place(t *testing.T) string {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	self, err := procstate.Self()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("Linux %s, %s, user %d, capabilities %#x, seccomp filters %d", strings.TrimSpace(string(kernel)),
		runtime.GOARCH, self.UIDs.Effective, uint64(self.Capabilities.Effective), self.SeccompFilters)
}

// A rule that is skipped where it was not before is found.
func TestNewSkips(t *testing.T) {
	recorded := map[string]string{"old": "no such call"}
	for _, test := range []struct {
		here       bool
		id, reason string
		found      bool
	}{
		{true, "old", "no such call", false},
		{true, "old", "another reason", true},
		{true, "new", "no such call", true},
		{true, "new", "this program may run on 1 CPU", false},
		{false, "new", "no such call", false},
	} {
		if err := (skips{test.here, recorded}).check(test.id, test.reason); (err != nil) != test.found {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// There are as many rules as there are to be.
func TestEnoughRules(t *testing.T) {
	if n := len(rules.Rules()); n < 110 {
		t.Errorf("%d rules, want at least 110", n)
	}
}

// Every rule has what a reader needs.
func TestRulesAreDescribed(t *testing.T) {
	id := regexp.MustCompile(`^[a-z0-9-]{3,24}$`)
	seen := map[string]bool{}
	for _, rule := range rules.Rules() {
		if !id.MatchString(rule.ID) || seen[rule.ID] {
			t.Errorf("id %q", rule.ID)
		}
		seen[rule.ID] = true
		if !strings.HasSuffix(rule.Claim, ".") || strings.Count(rule.Claim, ". ") > 0 || rule.Source == "" || rule.Group == "" {
			t.Errorf("%s: claim %q, source %q, group %q", rule.ID, rule.Claim, rule.Source, rule.Group)
		}
	}
}

// Each row of the forking chapter has a rule, from C1 to C18. C19 compares figures.
func TestRowsHaveRules(t *testing.T) {
	missing := map[string]bool{}
	for i := range 18 {
		missing[fmt.Sprintf("C%d", i+1)] = true
	}
	known := maps.Clone(missing)
	for _, rule := range rules.Rules() {
		for _, row := range rule.Rows() {
			if !known[row] {
				t.Errorf("%s stands for %q, which is no row", rule.ID, row)
			}
			delete(missing, row)
		}
	}
	for row := range missing {
		t.Errorf("row %s has no rule", row)
	}
}

// A rule that is broken on purpose is reported as broken, and why.
func TestBrokenRules(t *testing.T) {
	for name, test := range map[string]struct {
		check func(t *rules.T)
		want  []string
	}{
		"a false claim": {func(t *rules.T) {
			t.Equal("the child's parent", t.Fork().Call(getppid), 1)
		}, []string{fmt.Sprintf("the child's parent: got %d, want 1", os.Getpid())}},
		"one of two": {func(t *rules.T) {
			t.Equal("first", 1, 2)
			t.Equal("second", "a", "a")
		}, []string{"first: got 1, want 2"}},
		"another type":    {func(t *rules.T) { t.Equal("number", 1, int64(1)) }, []string{"number: got 1, want 1"}},
		"nothing seen":    {func(t *rules.T) { t.Fork() }, []string{"nothing was asserted"}},
		"a call fails":    {func(t *rules.T) { t.Fork().Call(getppid, 1, 2, 3, 4, 5, 6, 7) }, []string{"7 arguments"}},
		"a panic":         {func(t *rules.T) { t.Equal("zero", 1/len(t.Dir()[:0]), 0) }, []string{"panic"}},
		"a dead child":    {func(t *rules.T) { p := t.Fork(); p.Signal(9); p.Call(getppid) }, []string{"killed by signal 9"}},
		"a skip too late": {func(t *rules.T) { t.Equal("x", 1, 2); t.Skip("no") }, []string{"x: got 1, want 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			result := rules.Check(context.Background(), rules.Rule{ID: "broken", Check: test.check})
			if result.Outcome != rules.Broken {
				t.Errorf("outcome %s, want %s", result.Outcome, rules.Broken)
			}
			failures := result.Failures()
			for i, want := range test.want {
				if i >= len(failures) || !strings.Contains(failures[i], want) {
					t.Errorf("failures %q, want %q", failures, test.want)
				}
			}
		})
	}
}

// A check that hangs in a call ends with the context, and no process is left; Main
// checks that.
func TestInterruptedCheck(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	result := rules.Check(ctx, rules.Rule{ID: "hangs", Check: func(t *rules.T) {
		p := t.Fork().Fork()
		call := p.Start(ppoll, nil, 0, nil, nil, 0)
		t.Must(call.Blocked())
		cancel()
		call.Wait()
		p.Call(getppid)
	}})
	if result.Outcome != rules.Broken || result.Reason != context.Canceled.Error() {
		t.Errorf("%s: %s, want %s: %v", result.Outcome, result.Reason, rules.Broken, context.Canceled)
	}
}

// RULES.md says what the table says.
func TestRulesDocumentIsCurrent(t *testing.T) {
	document, err := os.ReadFile("../RULES.md")
	if err != nil {
		t.Fatal(err)
	}
	want := rules.Unmeasured(rules.RuleReport{}.Markdown())
	if diff := cmp.Diff(want, rules.Unmeasured(string(document))); diff != "" {
		t.Errorf("RULES.md is not what go generate ./rules makes (-want +got):\n%s", diff)
	}
}
