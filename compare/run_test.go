package compare

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeBench measures what it is told: no clock is asked.
type fakeBench struct {
	turns  *[]string // the methods, in the order of their turns
	value  func(method string, n int) float64
	failed error
	closed *int
}

func (b fakeBench) turn(_ context.Context, do turn) (map[string]float64, error) {
	*b.turns = append(*b.turns, do.Method)
	return map[string]float64{"wait": b.value(do.Method, len(*b.turns)), "return": 1}, b.failed
}

func (b fakeBench) close() { *b.closed++ }

// fakeRun runs experiments with fakes of the measuring processes.
func fakeRun(ctx context.Context, options Options, memory int64, experiments []Experiment, b fakeBench) (*Report, error) {
	opened := 0
	r := &runner{options: options, memory: memory, report: &Report{},
		open: func(context.Context, setup) (bench, error) { opened++; return b, nil }}
	err := r.run(ctx, experiments)
	if opened != *b.closed {
		err = errors.Join(err, fmt.Errorf("%d measuring processes opened, %d closed", opened, *b.closed))
	}
	return r.report, err
}

func small(name string, methods ...string) Experiment {
	return Experiment{Name: name, Axis: Axis{"resident memory", true}, X: []float64{16 * mB, gB}, Quick: []float64{16 * mB},
		Series: plain(methods...), Reference: Series{Method: methods[0]}, Measures: []string{"wait"},
		work: workExec, starts: 1, vary: heapIsX, answer: func(r *Result) string { return r.growth("wait", r.series()...) }}
}

// The methods take turns, each of them first in its turn, and the first round is a
// warm-up, whose figures don't count.
func TestTurns(t *testing.T) {
	var turns []string
	var closed int
	report, err := fakeRun(t.Context(), Options{Quick: true, Turns: 3}, gB, []Experiment{small("e", "syscall", "fork", "vfork")},
		fakeBench{turns: &turns, closed: &closed, value: func(_ string, n int) float64 { return float64(n) }})
	if err != nil {
		t.Fatal(err)
	}
	want := "syscall fork vfork vfork fork syscall fork vfork syscall syscall vfork fork"
	if diff := cmp.Diff(want, strings.Join(turns, " ")); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
	got := map[string][]float64{}
	for _, p := range report.Results[0].Points {
		got[p.Method] = p.Measured["wait"].Turns
	}
	if diff := cmp.Diff(map[string][]float64{"syscall": {6, 9, 10}, "fork": {5, 7, 12}, "vfork": {4, 8, 11}}, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}

func TestFigures(t *testing.T) {
	var turns []string
	var closed int
	values := map[string]float64{"syscall": 2e6, "fork": 3e6, "vfork": 1e6}
	e := small("e", "syscall", "fork", "vfork")
	report, err := fakeRun(t.Context(), Options{Turns: 7}, 2*gB, []Experiment{e},
		fakeBench{turns: &turns, closed: &closed, value: func(method string, _ int) float64 { return values[method] }})
	if err != nil {
		t.Fatal(err)
	}
	result := report.Results[0]
	want := "Start until the process is waited for, from 16 MB to 1 GB: syscall 2.00 ms to 2.00 ms, fork 3.00 ms to 3.00 ms, vfork 1.00 ms to 1.00 ms."
	if diff := cmp.Diff(want, result.Answer); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	f, ok := result.at(Series{Method: "fork"}, "wait", gB)
	if !ok {
		t.Fatal("fork was not measured at 1 GB")
	}
	if diff := cmp.Diff(Interval{3e6, 3e6, 3e6}, f.Interval); diff != "" {
		t.Errorf("fork (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&Interval{1.5, 1.5, 1.5}, f.Ratio); diff != "" {
		t.Errorf("fork's ratio (-want +got):\n%s", diff)
	}
	if f, _ := result.at(Series{Method: "syscall"}, "wait", gB); f.Ratio != nil {
		t.Errorf("the reference has a ratio to itself: %v", *f.Ratio)
	}
}

// A run that is stopped keeps what was measured.
func TestStopped(t *testing.T) {
	var turns []string
	var closed int
	ctx, cancel := context.WithCancelCause(t.Context())
	report, err := fakeRun(ctx, Options{Turns: 2}, 2*gB, []Experiment{small("e", "syscall", "fork"), small("f", "syscall", "fork")},
		fakeBench{turns: &turns, closed: &closed, value: func(_ string, n int) float64 {
			if n == 12 { // in the second point, in the second round after its warm-up
				cancel(errors.New("Ctrl-C"))
			}
			return 1
		}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Stopped != "Ctrl-C" {
		t.Errorf("stopped %q, want Ctrl-C", report.Stopped)
	}
	if len(report.Results) != 1 || len(report.Results[0].Points) != 4 {
		t.Fatalf("%+v, want the first experiment's two points of two series", report.Results)
	}
	for _, p := range report.Results[0].Points {
		want := map[float64]int{16 * mB: 2, gB: 1}[p.X]
		if got := len(p.Measured["wait"].Turns); got != want {
			t.Errorf("%s at %v: %d turns, want %d", p.Method, p.X, got, want)
		}
	}
}

func TestFailed(t *testing.T) {
	var turns []string
	var closed int
	failure := errors.New("no more processes")
	report, err := fakeRun(t.Context(), Options{}, 2*gB, []Experiment{small("e", "syscall", "fork")},
		fakeBench{turns: &turns, closed: &closed, failed: failure, value: func(string, int) float64 { return 1 }})
	if !errors.Is(err, failure) || !strings.Contains(errorText(err), "e, 16 MB, syscall") {
		t.Errorf("error %v, want %q with the experiment, its x and the method", err, failure)
	}
	if len(report.Results) != 0 {
		t.Errorf("results of a run that measured nothing: %v", report.Results)
	}
}

// Memory is asked for before it is touched: what isn't there is replaced by what is,
// and the report says so.
func TestMemory(t *testing.T) {
	heap := small("heap", "syscall", "fork")
	huge := small("huge", "fork-only")
	huge.Series = append(huge.Series, Series{"fork-only", Huge})
	for _, test := range []struct {
		name       string
		experiment Experiment
		options    Options
		memory     int64
		want       []float64
		note       string
	}{
		{"enough", heap, Options{}, gB, []float64{16 * mB, gB}, ""},
		{"two processes", huge, Options{}, gB, []float64{16 * mB, 512 * mB}, "no more than 512 MB: 1 GB need 2.00 GB of memory, and there are 1.00 GB to take"},
		{"little", heap, Options{}, 300 * mB, []float64{16 * mB, 256 * mB}, "no more than 256 MB: 1 GB need 1.00 GB of memory, and there are 300 MB to take"},
		{"none", heap, Options{}, -1, nil, "no more than nothing: 1 GB need 1.00 GB of memory, and there are 0 B to take"},
		{"asked for", heap, Options{Heap: 64 * gB}, 5 * gB, []float64{16 * mB, gB, 4 * gB}, "no more than 4 GB: 64 GB need 64.0 GB of memory, and there are 5.00 GB to take"},
		{"asked for, no power of two", heap, Options{Heap: 100 * gB}, 20 * gB, []float64{16 * mB, gB, 16 * gB}, "no more than 16 GB: 100 GB need 100 GB of memory, and there are 20.0 GB to take"},
		{"asked for less", heap, Options{Heap: 32 * mB}, gB, []float64{16 * mB, 32 * mB}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			result := &Result{experiment: &test.experiment}
			r := &runner{options: test.options, memory: test.memory}
			got := r.points(result)
			if len(got) == 0 {
				got = nil
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("x (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.note, strings.Join(result.Notes, "|")); diff != "" {
				t.Errorf("note (-want +got):\n%s", diff)
			}
		})
	}
	if got := available(); got <= 0 {
		t.Errorf("available memory: %d bytes", got)
	}
}

// A measuring process that can't be had is left out, and the others are measured.
func TestLack(t *testing.T) {
	var turns []string
	var closed int
	e := small("e", "fork-only")
	e.Series = append(e.Series, Series{"fork-only", Huge})
	b := fakeBench{turns: &turns, closed: &closed, value: func(string, int) float64 { return 1 }}
	r := &runner{options: Options{Quick: true, Turns: 1}, memory: gB, report: &Report{},
		open: func(_ context.Context, need setup) (bench, error) {
			if need.Memory == Huge {
				return nil, &lackError{"the kernel has no huge pages"}
			}
			return b, nil
		}}
	if err := r.run(t.Context(), []Experiment{e}); err != nil {
		t.Fatal(err)
	}
	result := r.report.Results[0]
	few := "fewer than 6 turns: a median of so few has no 95% confidence interval, and settles nothing"
	if diff := cmp.Diff([]string{"fork-only, huge pages at 16 MB: the kernel has no huge pages", few}, result.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if len(result.Points) != 1 {
		t.Errorf("%d points, want 1", len(result.Points))
	}
}

// In the rounds of a run no series has the same one before it each time.
func TestInTurn(t *testing.T) {
	for n := 2; n <= 8; n++ {
		before := map[[2]int]int{}
		for i := range 2 * n {
			seen := map[int]bool{}
			for j := range n {
				this := inTurn(i, j, n)
				seen[this] = true
				if j > 0 {
					before[[2]int{inTurn(i, j-1, n), this}]++
				}
			}
			if len(seen) != n {
				t.Fatalf("round %d of %d series: only %v have a turn", i, n, seen)
			}
		}
		for pair, times := range before {
			if times > n {
				t.Errorf("of %d series %d comes after %d in %d of %d rounds", n, pair[1], pair[0], times, 2*n)
			}
		}
	}
}

// A run says before it measures, and in its report, what it will not measure as asked for.
func TestNotices(t *testing.T) {
	var turns, notices []string
	var closed int
	options := Options{Quick: true, Turns: 6, Heap: 64 * mB, Methods: []string{"fork", "vfork"}, Notice: func(text string) {
		if len(turns) > 0 {
			t.Errorf("said after the start: %q", text)
		}
		notices = append(notices, text)
	}}
	lacking := small("lacking", "fork-only", "cfork-only")
	report, err := fakeRun(t.Context(), options, 32*mB, []Experiment{small("some", "syscall", "fork"), lacking},
		fakeBench{turns: &turns, closed: &closed, value: func(string, int) float64 { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"some: it has no vfork; its methods are syscall, fork",
		"some: no more than 32 MB: 64 MB need 64.0 MB of memory, and there are 32.0 MB to take",
		"lacking: not measured: it has no fork, vfork; its methods are fork-only, cfork-only",
	}
	if diff := cmp.Diff(want, notices); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	var noted []string
	for _, r := range report.Results {
		for _, note := range r.Notes {
			noted = append(noted, r.Experiment+": "+note)
		}
	}
	if diff := cmp.Diff(want, noted); diff != "" {
		t.Errorf("notes of the report (-want +got):\n%s", diff)
	}
	var out strings.Builder
	if err := report.WriteText(&out, TextOptions{All: true}); err != nil || !strings.Contains(out.String(), "note: not measured: it has no fork, vfork") {
		t.Errorf("%v: no note of an experiment without figures in\n%s", err, out.String())
	}
	if err := report.WriteHTML(&out); err != nil {
		t.Error(err)
	}
	if svg := new(strings.Builder); report.WriteSVG(svg) != nil || !strings.Contains(svg.String(), "<svg") {
		t.Error("no picture of the experiment with figures")
	}
}

// The run's plan goes on in one direction, to its end, and the time left follows from it:
// it is what is left of the plan, as slowly as the plan has gone on until now.
func TestProgress(t *testing.T) {
	var turns []string
	var closed int
	var all []Progress
	options := Options{Experiments: []string{"heap"}, Turns: 6, Progress: func(p Progress) { all = append(all, p) }}
	if _, err := fakeRun(t.Context(), options, 2*gB, []Experiment{small("e", "syscall", "fork"), small("f", "syscall", "fork")},
		fakeBench{turns: &turns, closed: &closed, value: func(string, int) float64 { return 1 }}); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		if p.Done < 0 || p.Done > p.Total || p.Left < 0 || i > 0 && p.Done < all[i-1].Done {
			t.Errorf("after %+v comes %+v", all[max(0, i-1)], p)
		}
	}
	if last := all[len(all)-1]; last.Done != last.Total || last.Left != 0 {
		t.Errorf("at the end: %+v", last)
	}
	r := &runner{total: 80 * time.Second}
	for _, test := range []struct{ elapsed, done, want time.Duration }{
		{0, 0, 80 * time.Second},
		{20 * time.Second, 20 * time.Second, 60 * time.Second}, // as fast as planned
		{50 * time.Second, 20 * time.Second, 120 * time.Second},
		{2 * time.Second, 0, 96 * time.Second}, // the plan weighs ten seconds
		{80 * time.Second, 80 * time.Second, 0},
		{9 * time.Minute, 20 * time.Second, fullEnd - 9*time.Minute}, // it ends then in any case
	} {
		if got := r.left(test.elapsed, test.done); got != test.want {
			t.Errorf("%v of %v done after %v: %v left, want %v", test.done, r.total, test.elapsed, got, test.want)
		}
	}
}

// A run that is too slow ends in time, and says what it left out.
func TestTooLate(t *testing.T) {
	r := &runner{options: Options{Quick: true}, started: time.Now().Add(-40 * time.Second), total: 60 * time.Second}
	for _, test := range []struct {
		done, estimate time.Duration
		want           bool
	}{
		{0, time.Minute, false}, // the first point is measured on any machine
		{40 * time.Second, 10 * time.Second, false},
		{40 * time.Second, 20 * time.Second, true},
		{10 * time.Second, 10 * time.Second, true},
	} {
		if r.done = test.done; r.tooLate(test.estimate) != test.want {
			t.Errorf("%v of the plan done after 40 s: %v more is too late: %v, want %v", test.done, test.estimate, !test.want, test.want)
		}
	}
	e := small("e", "syscall")
	result := &Result{experiment: &e}
	r.started = r.started.Add(-quickEnd)
	if err := r.point(t.Context(), result, gB); err != nil || len(result.late) != 1 || result.late[0] != "1 GB" {
		t.Errorf("%v, late %q", err, result.late)
	}
}

// A run with some of the methods measures the reference too.
func TestMethodsOfARun(t *testing.T) {
	r := &runner{options: Options{Methods: []string{"vfork"}}}
	e := small("e", "syscall", "fork", "vfork")
	if diff := cmp.Diff(plain("syscall", "vfork"), r.series(&e)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoise(t *testing.T) {
	result := func(spread float64) Result {
		e := small("e", "fork")
		return Result{experiment: &e, Points: []Point{{Series{Method: "fork"}, 1, map[string]Figure{"wait": {Interval: Interval{100, Bound(100 - spread), Bound(100 + spread)}}}}}}
	}
	for _, test := range []struct {
		others, spread float64
		want           int
	}{{0, 5, 0}, {0.05, 5, 0}, {0.2, 5, 1}, {0, 20, 1}, {0.2, 20, 2}} {
		report := &Report{Others: test.others, Results: []Result{result(test.spread)}}
		if got := noise(report); len(got) != test.want {
			t.Errorf("others %v, spread %v: %q, want %d reasons", test.others, test.spread, got, test.want)
		}
	}
}
