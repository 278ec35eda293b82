//go:build cgo && (amd64 || arm64)

package inherit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/helper"
	"rawfork/internal/forktest"
	"rawfork/internal/text"
	"rawfork/procstate"
)

func TestMain(m *testing.M) {
	helper.Init()
	forktest.Main(m, nil)
}

func compareAll(t *testing.T) []Report {
	t.Helper()
	reports, err := Compare(context.Background(), Ways())
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != len(Ways()) {
		t.Fatalf("%d reports of %d ways", len(reports), len(Ways()))
	}
	return reports
}

// What fork(2) and execve(2) say of each field.
func TestCompare(t *testing.T) {
	always := map[string]Word{
		"PID": New, "PPID": New, "PGID": Kept, "Cwd": Kept, "Umask": Kept, "Env[PATH]": Kept,
		"Blocked": Kept, "Pending": Reset, "Ignored": Kept, "Caught": Reset, "Timers[0]": Gone,
		"Locks[POSIX]": Gone, "Locks[FLOCK]": Kept, "Threads": Reset, "Descriptors[0]": Kept,
	}
	bare := map[string]Word{"Exe": Kept, "Argv": Kept, "Name": Kept}
	program := map[string]Word{"Exe": New, "Argv": New, "Name": New, "Maps": New}
	for _, r := range compareAll(t) {
		t.Run(r.Name, func(t *testing.T) {
			want, got := map[string]Word{}, map[string]Word{}
			for _, words := range []map[string]Word{always, map[bool]map[string]Word{true: bare, false: program}[r.bare]} {
				for name, word := range words {
					want[name] = word
				}
			}
			if r.method == rawfork.ByHelper { // whose child has the descriptors of Files only
				want["Locks[FLOCK]"] = Gone
			}
			for _, f := range r.Fields {
				if _, ok := want[f.Name]; ok {
					got[f.Name] = f.Word
				}
				if strings.HasPrefix(f.Name, "Descriptors[") && r.method != rawfork.ByHelper {
					closed := strings.Contains(f.Parent, "close-on-exec") && !r.bare
					if r.Name == rawfork.ByHelper.String() { // has those of Files only
						closed = !slices.Contains([]string{"0", "1", "2", fmt.Sprint(readyFD)}, strings.Trim(strings.TrimPrefix(f.Name, "Descriptors"), "[]"))
					}
					if (f.Word == Gone) != closed {
						t.Errorf("%s: %v", f.Word, f)
					}
				}
			}
			if r.Name == rawfork.ByHelper.String() {
				want["Locks[FLOCK]"] = Gone // with the description
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
		})
	}
}

// Of the mappings with advice a copy has lost one, and one is no longer locked. No
// other has changed.
func TestMappings(t *testing.T) {
	fields := compareAll(t)[0].Fields
	flag := func(f Field, flag string) bool { return slices.Contains(strings.Fields(f.Parent), flag) }
	kept := 0
	for _, f := range fields {
		if !strings.HasPrefix(f.Name, "Maps[") {
			continue
		}
		want := Kept
		switch {
		case flag(f, "dc"):
			want = Gone
		case flag(f, "lo"):
			want = Reset
		}
		if f.Word != want {
			t.Errorf("%s, want %s: %v", f.Word, want, f)
		}
		if f.Word == Kept {
			kept++
		}
	}
	if kept < 10 {
		t.Errorf("%d mappings kept in %v", kept, fields)
	}
}

// Afterwards the process is what it was.
func TestTakesBack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	compareAll(t) // starts threads, and the runtime's poller
	before, err := ownState()
	if err != nil {
		t.Fatal(err)
	}
	compareAll(t)
	after, err := ownState()
	if err != nil {
		t.Fatal(err)
	}
	// The offset: the testing package writes a log of what a test opens. SIGCHLD of the
	// last child may be on its way.
	if diff := procstate.Diff(before, after, append(procstate.Moving, "Descriptors[].Offset", "ProcessPending")...); diff != "" {
		t.Errorf("before → after:\n%s", diff)
	}
}

// A caller that gives up gets its context's error.
func TestCompareInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := comparison{}
	var err error
	var ready *os.File
	if c.heard, ready, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	defer c.heard.Close()
	defer ready.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	c.ready = int(null.Fd()) // where nobody hears it
	if _, err := c.one(ctx, Ways()[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestText(t *testing.T) {
	reports := []Report{
		{Way: Way{Name: "child", Title: "a copy"}, Fields: []Field{
			{"PID", New, "1", "2"}, {"Env[A]", Kept, "a", "a"}, {"Env[B]", Kept, "b", "b"},
			{"Limits[x]", Kept, "1", "1"}, {"Limits[y]", Kept, "2", "2"}, {"Maps[1]", Gone, "m", ""}}},
		{Way: Way{Name: "exec", Title: "a program"}, Fields: []Field{
			{"PID", New, "1", "3"}, {"Env[A]", Kept, "a", "a"}, {"Env[B]", Kept, "b", "b"},
			{"Limits[x]", Kept, "1", "1"}, {"Limits[y]", Reset, "2", "3"}, {"Maps", New, "9", "1"}}},
	}
	long := []Report{{Way: Way{Name: "child"}, Fields: []Field{{"Maps[000000001000 /lib/a library called äöü]", Gone, "m", ""}}}}
	for _, test := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"table", Table(reports, text.Style{}), `
          child    exec
PID       new      new
Env       kept     kept
Limits    kept     kept
Limits[y] kept     reset
Maps[1]   gone     -
Maps      -        new`},
		{"long name", Table(long, text.Style{}), `
                                             child
Maps[000000001000 /lib/a library called äöü] gone`},
		{"long name on a terminal", Table(long, text.Style{Width: 80}), `
                          child
Maps[000000001000 /lib/a… gone`},
		{"narrow", Table(reports, text.Style{Width: 24}), `
PID: new
Env: kept
Limits: kept
Limits[y]: kept by
  child; reset by exec
Maps[1]: gone by child
Maps: new by exec`},
		{"lines", reports[1].Lines(text.Style{}), `
exec: a program
  new     PID: 1 → 3
  kept    Env: 2 of them
  kept    Limits: 1 of them
  reset   Limits[y]: 2 → 3
  new     Maps: 9 → 1`},
	} {
		if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), strings.Join(test.lines, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
