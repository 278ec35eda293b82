//go:build linux && cgo && (amd64 || arm64)

// Package rule_test shows how to state a rule of your own on what fork does, and how to
// check it: all of the check is ordinary Go, and drives processes that are really forked.
package rule_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"rawfork/rules"
)

var nice = rules.Rule{
	ID:     "nice",
	Claim:  "The child has its parent's nice value, and from then on one of its own.",
	Source: "POSIX nice(); setpriority(2)",
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
	result := rules.Check(t.Context(), nice)
	if result.Outcome != rules.Holds {
		t.Errorf("%s: the rule is %s: %v", nice.Claim, result.Outcome, result.Failures())
	}
}
