//go:build linux && cgo && (amd64 || arm64)

package rules_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rawfork/internal/forktest"
	"rawfork/rules"
)

func TestMain(m *testing.M) {
	rules.Init()
	forktest.Main(m, nil)
}

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
			if !rules.BuiltFor(c) {
				t.Skipf("it takes a build with %v, which make core-race makes", c.Build)
			}
			t.Parallel() // each is shown in a process of its own
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
			if showing.Shown == 0 && !c.Rare {
				t.Errorf("it went well each time: %v", showing.Bad)
			}
			t.Log(showing.Verdict())
			if showing.Failed() {
				t.Errorf("the library's way: %v", showing.Good)
			}
		})
	}
}

// A run that is stopped in the middle leaves no child; Main checks that.
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

// A caveat that is stopped in the middle leaves no child, nor the process that shows it.
func TestInterruptedCaveat(t *testing.T) {
	list := rules.Caveats()
	i := slices.IndexFunc(list, func(c rules.Caveat) bool { return c.ID == "collection" }) // most of which hang
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := rules.Show(ctx, list[i], 1_000_000); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Show: %v, want %v", err, context.DeadlineExceeded)
	}
}

// What goes wrong in the process that shows a caveat is an error here.
func TestShowFails(t *testing.T) {
	_, err := rules.Show(context.Background(), rules.Caveat{ID: "none"}, 1)
	if err == nil || err.Error() != "caveat none: no such caveat" {
		t.Errorf("Show: %v, want no such caveat", err)
	}
	// A process that dies says what it has said.
	t.Setenv("GOMEMLIMIT", "none")
	_, err = rules.Show(context.Background(), rules.Caveats()[0], 1)
	if err == nil || !strings.Contains(err.Error(), "malformed GOMEMLIMIT") {
		t.Errorf("Show: %v, want what the process has said", err)
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
	var ids []string
	for _, c := range rules.Caveats() {
		ids = append(ids, c.ID)
	}
	headings := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(document), -1)
	for _, heading := range headings {
		if id := heading[1]; id != "The hang matrix" && !slices.Contains(ids, id) {
			t.Errorf("rawfork caveats --run %s finds nothing", id)
		}
	}
}
