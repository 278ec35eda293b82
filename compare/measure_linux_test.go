//go:build linux && cgo && (amd64 || arm64)

package compare

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rawfork/internal/program"
)

// Every method of every experiment can be measured, at the smallest x.
func TestEveryMethod(t *testing.T) {
	all, err := Find(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i].X = all[i].X[:1]
		if all[i].Axis.Bytes {
			all[i].X = []float64{16 * mB}
		}
		if all[i].Name == "written" {
			all[i].setup = func(need *setup) { need.Heap = 16 * mB }
		}
	}
	report := measureAll(t, all)
	for i := range report.Results {
		r := &report.Results[i]
		want := len(r.experiment.Series)
		for _, note := range r.Notes {
			if !strings.HasPrefix(note, "fewer than ") { // turns: there is one
				t.Logf("%s: %s", r.Experiment, note)
				want--
			}
		}
		if len(r.Points) != want {
			t.Errorf("%s: %d points, want %d", r.Experiment, len(r.Points), want)
		}
		for _, p := range r.Points {
			for _, name := range r.experiment.Measures {
				// Where nothing was started, or in no time, nobody had to wait.
				gap := strings.HasPrefix(name, "gap-")
				if f, ok := p.Measured[name]; !ok || f.Median < 0 || measure(name).Nanos && f.Median == 0 && !gap {
					t.Errorf("%s, %s: %s is %+v", r.Experiment, p.Series, name, f.Interval)
				}
			}
		}
	}
	if len(report.Results) != len(all) {
		t.Errorf("%d results of %d experiments", len(report.Results), len(all))
	}
}

func measureAll(t *testing.T, all []Experiment) *Report {
	t.Helper()
	r := &runner{options: Options{Turns: 1}, memory: available(), report: &Report{}, open: opener(programFile(t))}
	if err := r.run(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return r.report
}

func programFile(t *testing.T) string {
	t.Helper()
	path, err := program.Write(program.Stamp())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(path)) })
	return path
}

// What doesn't depend on the machine's speed is known beforehand.
func TestCounts(t *testing.T) {
	all, err := Find([]string{"tables", "written"})
	if err != nil {
		t.Fatal(err)
	}
	tables, written := all[0], all[1]
	tables.X, written.X = []float64{64 * mB}, []float64{256}
	written.setup = func(need *setup) { need.Heap = 16 * mB }
	report := measureAll(t, []Experiment{tables, written})
	got := func(experiment string, s Series, name string) float64 {
		f, ok := report.result(experiment).at(s, name, map[string]float64{"tables": 64 * mB, "written": 256}[experiment])
		if !ok {
			t.Fatalf("%s, %s: %s was not measured", experiment, s, name)
		}
		return f.Median
	}
	fork, dontFork, syscall := Series{Method: "fork-only"}, Series{"fork-only", DontFork}, Series{Method: "syscall"}

	// An entry of 8 bytes for each page of 4 kB, so 1/512 of the memory.
	page := float64(os.Getpagesize())
	if least, tables := 64*mB/page*8, got("tables", fork, "tables"); tables < least {
		t.Errorf("page tables of %v bytes for 64 MB after a fork, want %v and more", tables, least)
	}
	if few, many := got("tables", dontFork, "tables"), got("tables", fork, "tables"); few >= many {
		t.Errorf("page tables of %v bytes with MADV_DONTFORK, %v without", few, many)
	}
	if shared := got("tables", fork, "shared"); shared < 64*mB {
		t.Errorf("%v bytes are shared after a fork, want 64 MB and more", shared)
	}
	if shared := got("tables", syscall, "shared"); shared > mB {
		t.Errorf("%v bytes are shared after an exec", shared)
	}
	// One fault for each page that is written to while a child shares it.
	if faults := got("written", fork, "write-faults"); faults < 256*4*kB/page {
		t.Errorf("%v page faults for 256 pages of 4 kB written after a fork", faults)
	}
	if faults := got("written", syscall, "write-faults"); faults > 128 {
		t.Errorf("%v page faults for 256 pages written beside a program that has executed", faults)
	}
}

// A run that is stopped leaves no process, which TestMain sees, and keeps what was
// measured.
func TestStopProcesses(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	points := 0
	report, err := Run(ctx, Options{Experiments: []string{"fork"}, Quick: true, Turns: 1, Progress: func(p Progress) {
		if strings.HasPrefix(p.Doing, "fork, 256 MB") {
			cancel(errors.New("enough"))
		}
		points++
	}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Stopped != "enough" || len(report.Results) != 1 || len(report.Results[0].Points) != 3 || points == 0 {
		t.Errorf("stopped %q with %+v, want the point that was measured", report.Stopped, report.Results)
	}
}

// What this machine doesn't have is a lack, said before anything is measured.
func TestSetupsThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		need setup
		want string
	}{
		{setup{Mappings: 1 << 40}, "vm.max_map_count is"},
		{setup{Threads: 1 << 40}, "kernel.threads-max is"},
		{setup{Descriptors: 1 << 40}, "RLIMIT_NOFILE is"},
		{setup{Heap: 1 << 47}, "mmap"},
	} {
		c, err := start(t.Context(), test.need)
		if err == nil {
			c.close()
		}
		var lack *lackError
		if !errors.As(err, &lack) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want a lack with %q", test.need, err, test.want)
		}
	}
}

// A start that fails is an error of the turn, and the process can go on.
func TestStartFails(t *testing.T) {
	c, err := start(t.Context(), setup{Program: "/nowhere/program"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, m := range []string{"fork", "syscall", "osexec", "cfork", "nonsense"} {
		if _, err := c.turn(t.Context(), turn{Work: workExec, Method: m, Starts: 1}); err == nil {
			t.Errorf("%s: no error for a program that isn't there", m)
		}
	}
	if _, err := c.turn(t.Context(), turn{Work: workFork, Method: "fork-only", Starts: 1}); err != nil {
		t.Errorf("after the failures: %v", err)
	}
}

// A measuring process that ends takes its turn's error with it.
func TestProcessEnds(t *testing.T) {
	c, err := start(t.Context(), setup{Program: programFile(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := c.turn(t.Context(), turn{Work: workExec, Method: "fork", Starts: 1}); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("error %v, want one that tells of the signal", err)
	}
}
