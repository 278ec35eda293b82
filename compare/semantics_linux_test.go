//go:build linux && cgo && (amd64 || arm64)

package compare

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rawfork/procstate"
)

// What the methods make is the same or differs as is known of them.
func TestSemantics(t *testing.T) {
	s, err := describe(t.Context(), programFile(t), described)
	if err != nil {
		t.Fatal(err)
	}
	// What the tests themselves were started with is inherited.
	self, err := procstate.Self()
	if err != nil {
		t.Fatal(err)
	}
	ignored := (self.Ignored | procstate.Signals(procstate.Signal(ignoredSignal))).String()
	got := map[string]Side{}
	for _, side := range s.Sides {
		got[side.Method] = side
		t.Logf("%s: %q\n%q", side.Method, side.Differs, side.Values)
	}
	for _, test := range []struct {
		method, field, value string
		differs              bool
	}{
		{"syscall", "Parent", "the caller", false},
		{"syscall", "Program", "the program", false},
		{"syscall", "Descriptors", "0-4, 50", false}, // those given, and one that isn't close-on-exec
		{"syscall", "Signals ignored", ignored, false},
		{"syscall", "Signals blocked", "SIGWINCH", false},
		{"fork", "Descriptors", "0-4, 50", false},
		{"vfork", "Signals blocked", "SIGWINCH", false},
		{"spawn", "Shared until written", "nothing", false},
		{"helper", "Parent", "the caller", false},
		{"helper", "Descriptors", "0-4", true},
		{"gochild", "Threads", "several", true},
		{"gochild", "Program", "the caller's", true},
		{"fork-only", "Threads", "one", false},
		{"fork-only", "Program", "the caller's", true},
	} {
		side := got[test.method]
		if diff := cmp.Diff(test.value, side.Values[test.field]); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", test.method, test.field, diff)
		}
		if differs := slices.Contains(side.Differs, test.field); differs != test.differs {
			t.Errorf("%s: %s differs from syscall.ForkExec's: %v, want %v", test.method, test.field, differs, test.differs)
		}
	}
	if len(got) != len(described) || len(got["syscall"].Differs) != 0 {
		t.Errorf("%d sides, want %d; syscall differs from itself in %q", len(got), len(described), got["syscall"].Differs)
	}
	if shared := got["fork-only"].Values["Shared until written"]; shared == "nothing" {
		t.Error("a forked child shares no memory")
	}
}
