//go:build linux && cgo && (amd64 || arm64)

// Package rule_test states a rule on fork and checks it: ordinary Go drives real processes.
package rule_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"rawfork/rules"
)

var nice = rules.Rule{
	ID: "nice", Claim: "The child has its parent's nice value, and from then on one of its own.",
	Check: func(t *rules.T) {
		parent := t.Fork()
		parent.Call(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 5)
		child := parent.Fork()
		t.Equal("the child's", child.State(0).Nice, 5)
		child.Call(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 7)
		t.Equal("the parent's, after the child changed its own", parent.State(0).Nice, 5)
	},
}

func TestNice(t *testing.T) {
	if r := rules.Check(t.Context(), nice); r.Outcome != rules.Holds {
		t.Errorf("%s: %s: %v", r.Claim, r.Outcome, r.Failures())
	}
}
