//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"encoding/json"
	"errors"
	"regexp"
	"testing"

	"rawfork/rules"
)

func TestRules(t *testing.T) {
	code, stdout, stderr := run(t, command(t, "rules", "--run", "^umask$", "--json"))
	var report rules.RuleReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != statusOK || stderr != "" {
		t.Fatalf("exit status %d, %v, stdout %q, stderr %q", code, err, stdout, stderr)
	}
	if len(report.Results) != 1 || report.Count(rules.Holds) != 1 || len(report.Results[0].Assertions) == 0 {
		t.Errorf("the report is %s", stdout)
	}
	for _, args := range [][]string{{"rules", "--run", "no-such-rule"}, {"rules", "--run", "("}, {"rules", "--run", "x", "--write", "y"}} {
		if code, stdout, _ := run(t, command(t, args...)); code != statusUsage || stdout != "" {
			t.Errorf("%q: exit status %d, want %d; stdout %q", args, code, statusUsage, stdout)
		}
	}
}

// A rule that doesn't hold is the command's failure, however many others hold.
func TestBrokenRule(t *testing.T) {
	check := func(want int) func(t *rules.T) {
		return func(t *rules.T) { t.Equal("number", 1, want) }
	}
	list := []rules.Rule{{ID: "false", Check: check(2)}, {ID: "true", Check: check(1)}}
	for match, want := range map[string]int{"": statusFailed, "false": statusFailed, "true": statusOK} {
		err := runRules(t.Context(), list, regexp.MustCompile(match), false, reportFlags{})
		var status exitStatus
		if errors.As(err, &status); status.code != want || (err != nil) != (want != statusOK) {
			t.Errorf("--run %q: %v, want exit status %d", match, err, want)
		}
	}
}
