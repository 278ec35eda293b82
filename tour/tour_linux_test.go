//go:build linux && cgo && (amd64 || arm64)

package tour

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rawfork"
	"rawfork/child"
	"rawfork/helper"
	"rawfork/internal/forktest"
	"rawfork/internal/ps"
)

func TestMain(m *testing.M) {
	helper.Init() // for the Go children
	forktest.Main(m, nil)
}

func TestSteps(t *testing.T) {
	for _, step := range Steps() {
		t.Run(step.Name, func(t *testing.T) {
			var shown []string
			result, err := step.Run(t.Context(), func(line Line) { shown = append(shown, line.Text) })
			if err != nil {
				t.Fatal(err)
			}
			if result.Outcome != Holds || result.Seen == "" {
				t.Errorf("%s: %s\n\t%s", result.Outcome, result.Seen, strings.Join(result.Lines, "\n\t"))
			}
			if diff := cmp.Diff(shown, result.Lines); diff != "" || len(shown) == 0 {
				t.Errorf("lines, as shown and in the result (-shown +result):\n%s", diff)
			}
			wantNoChildren(t)
		})
	}
}

// Every row of the chapter has its step, and every step can be told from others.
func TestRows(t *testing.T) {
	var rows, want []string
	seen := map[string]bool{}
	for i := range 19 {
		want = append(want, fmt.Sprintf("C%d", i+1))
	}
	for _, step := range Steps() {
		rows = append(rows, step.Row)
		if step.Name == "" || step.Title == "" || step.Claim == "" || seen[step.Name] {
			t.Errorf("step %s: no text, or the name %q comes twice", step.Row, step.Name)
		}
		seen[step.Name] = true
		for _, name := range []string{step.Name, strings.ToUpper(step.Name), strings.ToLower(step.Row)} {
			if found, ok := Find(name); !ok || found.Row != step.Row {
				t.Errorf("Find(%q): %q, %v", name, found.Row, ok)
			}
		}
	}
	if diff := cmp.Diff(want, slices.Compact(rows)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if step, ok := Find(""); ok {
		t.Errorf("Find of no name: %q", step.Name)
	}
}

// leave is a step that leaves a child, which pauses for ever, and a pipe.
func leave(err error) func(context.Context, *Log) (string, error) {
	return func(_ context.Context, l *Log) (string, error) {
		if _, _, err := l.pipe(); err != nil {
			return "", err
		}
		pid, forkErr := l.adopt(forkPause())
		l.say("child %d", pid)
		return "seen", errors.Join(forkErr, err)
	}
}

//go:norace
func forkPause() (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.Pause()
		child.Exit(0)
	}
	return pid, err
}

func TestOutcome(t *testing.T) {
	for _, test := range []struct {
		name    string
		err     error
		outcome Outcome
		seen    string
	}{
		{"holds", nil, Holds, "seen"},
		{"fails", errors.New("not so"), Fails, "not so"},
		{"skipped", skipped{"no limits here"}, Skipped, "no limits here"},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, err := Step{run: leave(test.err)}.Run(t.Context(), nil)
			if err != nil || result.Outcome != test.outcome || result.Seen != test.seen {
				t.Errorf("got %+v, %v, want %s: %s", result, err, test.outcome, test.seen)
			}
			wantNoChildren(t)
		})
	}
	unsupported := fmt.Errorf("fork: %w", errors.ErrUnsupported)
	if _, err := (Step{run: leave(unsupported)}).Run(t.Context(), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a fork: %v", err)
	}
	wantNoChildren(t)
}

// An interrupted step gets no further: the end of its child ends its wait.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	step := Step{run: func(_ context.Context, l *Log) (string, error) {
		pid, err := l.adopt(forkPause())
		if err != nil {
			return "", err
		}
		l.say("child %d", pid)
		_, err = l.wait(pid)
		return "seen", err
	}}
	_, err := step.Run(ctx, func(Line) { interrupt() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	wantNoChildren(t)

	// And one that has not begun forks in vain.
	for _, step := range append(Steps(), Step{Name: "leave", run: leave(nil)}) {
		if _, err := step.Run(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", step.Name, err, context.Canceled)
		}
		if step.Name == "orphan" || step.Name == "errors" {
			// Their child may have forked before it was killed. The grandchild ends
			// by itself, and comes to this process, which is a subreaper.
			orphans, err := ps.Children(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			for _, pid := range orphans {
				forktest.WantExit(t, pid, 0)
			}
		}
		wantNoChildren(t)
	}
}

// wantNoChildren fails the test if a child is left, dead or alive.
func wantNoChildren(t *testing.T) {
	t.Helper()
	left, err := ps.Children(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range left {
		if line, err := ps.Line(pid); err == nil {
			t.Errorf("left: %s", line)
		}
		forktest.Wait(t, pid)
	}
}
