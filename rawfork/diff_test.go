//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"rawfork/internal/inherit"
)

func wayNames() (names []string) {
	for _, way := range inherit.Ways() {
		names = append(names, way.Name)
	}
	return names
}

// All ways side by side, one line a field.
func TestDiff(t *testing.T) {
	code, stdout, stderr := run(t, command(t, "diff"))
	if code != 0 || stderr != "" {
		t.Fatalf("exit status %d, stderr %q", code, stderr)
	}
	lines := map[string][]string{}
	for _, line := range strings.Split(stdout, "\n") {
		if words := strings.Fields(line); len(words) > 1 {
			lines[words[0]] = words[1:]
		}
	}
	same := func(word string) []string { return slices.Repeat([]string{word}, len(wayNames())) }
	exec := append([]string{"kept"}, same("new")[1:]...)
	got := map[string][]string{}
	want := map[string][]string{"child": wayNames()[1:], "PID": same("new"), "Cwd": same("kept"), "Exe": exec,
		"Pending": same("reset"), "Timers[0]": same("gone")}
	for name := range want {
		got[name] = lines[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// One way's list has the values, a line a field, and no colours in a pipe.
func TestDiffValues(t *testing.T) {
	code, stdout, stderr := run(t, command(t, "diff", "child", "vfork"))
	if code != 0 || stderr != "" {
		t.Fatalf("exit status %d, stderr %q", code, stderr)
	}
	for _, want := range []string{
		`(?m)^child: the child of a bare fork$`, `(?m)^vfork: a program started by vfork$`,
		`(?m)^  new     PID: [0-9]+ → [0-9]+$`, `(?m)^  kept    Cwd: ".*"$`,
		`(?m)^  reset   Pending: SIGWINCH → none$`, `(?m)^  kept    Blocked: SIGWINCH$`,
		`(?m)^  new     Argv: .* → \["program"\]$`, `(?m)^  gone    Locks\[POSIX\]: POSIX .*$`,
	} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("nothing like %s in:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("colours in a pipe")
	}
}

func TestDiffJSON(t *testing.T) {
	var reports []inherit.Report
	code, stdout, _ := run(t, command(t, "diff", "--json"))
	decode(t, stdout, &reports)
	if code != 0 || len(reports) != len(wayNames()) {
		t.Fatalf("exit status %d, %d reports", code, len(reports))
	}
	for i, r := range reports {
		has := slices.ContainsFunc(r.Fields, func(f inherit.Field) bool {
			return f.Name == "PID" && f.Word == inherit.New && f.Parent != "" && f.Child != f.Parent
		})
		if r.Name != wayNames()[i] || !has || len(r.Fields) < 50 {
			t.Errorf("%+v", r)
		}
	}
}

// In a narrow terminal the words are put into lines that fit.
func TestDiffOnTerminal(t *testing.T) {
	for _, test := range []struct {
		columns uint16
		line    string
	}{
		{40, "\nPID: new\r\n"},
		{80, "\nPID +new +new"},
	} {
		text := colour.ReplaceAllString(onTerminal(t, test.columns, nil, "diff"), "")
		if !regexp.MustCompile(test.line).MatchString("\n" + text) {
			t.Errorf("%d columns: nothing like %q in:\n%s", test.columns, test.line, text)
		}
		for _, line := range strings.Split(text, "\r\n") {
			if n := utf8.RuneCountInString(line); n > int(test.columns) {
				t.Errorf("%d columns on a terminal of %d: %s", n, test.columns, line)
			}
		}
	}
}
