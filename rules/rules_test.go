//go:build linux && cgo && (amd64 || arm64)

package rules_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rawfork/internal/forktest"
	"rawfork/rules"
)

func TestMain(m *testing.M) { forktest.Main(m, nil) }

// forksEnv asks for the long form of the matrix: make soak.
const forksEnv = "RAWFORK_SOAK_FORKS"

// Not one child of the library hangs or ends otherwise than it should, whatever the
// parent does. The control, which does hang, runs beside it.
func TestHangMatrix(t *testing.T) {
	plan := rules.Plan{Forks: 2000, Control: 1}
	if text := os.Getenv(forksEnv); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		plan.Forks, plan.Control = n, 3
	}
	var cells []rules.Cell
	if err := rules.Matrix(context.Background(), plan, func(c rules.Cell) { cells = append(cells, c) }); err != nil {
		t.Fatal(err)
	}
	for _, failure := range (rules.Report{Cells: cells}).Failures() {
		t.Error(failure)
	}
	library := rules.Sum(cells, func(c rules.Cell) bool { return !c.Control })
	control := rules.Sum(cells, func(c rules.Cell) bool { return c.Control })
	if library.Forks < plan.Forks {
		t.Errorf("%d children of the library, want at least %d", library.Forks, plan.Forks)
	}
	if control.Hung == 0 {
		t.Errorf("none of %d children of the control hung: the watchdog, or the control, doesn't work", control.Forks)
	}
	for _, c := range cells {
		if c.Control && c.Hung == 0 {
			t.Logf("control: %s, parent %s, GOMAXPROCS %d: none of %d hung", c.Action, c.Load, c.Procs, c.Forks)
		}
	}
	t.Logf("library: %d of %d hung; control: %d of %d hung, %d ended wrongly",
		library.Hung, library.Forks, control.Hung, control.Forks, control.Wrong)
}

// Every caveat goes wrong as it says, and the library's way doesn't.
func TestCaveats(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range rules.Caveats() {
		t.Run(c.ID, func(t *testing.T) {
			if seen[c.ID] {
				t.Errorf("two caveats have this id")
			}
			seen[c.ID] = true
			tries := 4
			if c.Rare {
				tries = 8
			}
			showing, err := rules.Show(context.Background(), c, tries)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if !showing.Shown() && !c.Rare {
				t.Errorf("it went well each time: %v", showing.Bad)
			}
			if showing.Failed() {
				t.Errorf("the library's way: %v", showing.Good)
			}
		})
	}
}

// A caveat that the run stops in the middle of leaves no child; Main checks that.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := rules.Matrix(ctx, rules.Plan{Forks: 2000, Control: 2}, func(rules.Cell) {
		if n++; n == 8 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Matrix: %v, want %v", err, context.Canceled)
	}
}

// CAVEATS.md says what the table says.
func TestDocumentIsCurrent(t *testing.T) {
	document, err := os.ReadFile("../CAVEATS.md")
	if err != nil {
		t.Fatal(err)
	}
	want := rules.Unmeasured(rules.Report{}.Markdown())
	if diff := cmp.Diff(want, rules.Unmeasured(string(document))); diff != "" {
		t.Errorf("CAVEATS.md is not what go generate ./rules makes (-want +got):\n%s", diff)
	}
}
