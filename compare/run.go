package compare

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"rawfork/internal/machine"
)

// Options say what is measured. The zero value is everything there is.
type Options struct {
	Experiments []string // names; none: all
	Methods     []string // names; none: all. References are always measured
	Quick       bool     // fewer points and turns: less than a minute instead of eight
	Heap        int64    // the largest resident memory, in bytes; 0: as in the table, where the machine has it
	Turns       int      // of each series at each point; 0: 20, or 8 for a quick run
	Semantics   bool     // also look at what the processes are
	// Progress, if not nil, is told how far the run is.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Doing string        // the experiment and its x
	Done  time.Duration // of Total
	Total time.Duration // about what the run takes on a machine with nothing else to do
}

// What a run takes when nothing else is asked for.
const (
	fullTurns  = 20
	quickTurns = 8
	leastTurns = 3 // a slow point gets fewer turns, but not fewer than these
	fullPoint  = 12 * time.Second
	quickPoint = 1500 * time.Millisecond
	fullRun    = 9 * time.Minute
	quickRun   = 50 * time.Second
)

// A bench is a measuring process, ready to take turns.
type bench interface {
	// turn does one piece of work and returns what was measured, by measure.
	turn(context.Context, turn) (map[string]float64, error)
	close()
}

// runner is a run under way.
type runner struct {
	options Options
	memory  int64 // that measuring processes may have together
	open    func(context.Context, setup) (bench, error)
	report  *Report
	touch   time.Duration // the first touch of a GB takes about this
	started time.Time
	done    time.Duration
	total   time.Duration
}

// Check tells whether the names in the options are known, before anything is
// measured. The errors list the names there are.
func (o Options) Check() error {
	if _, err := Find(o.Experiments); err != nil {
		return err
	}
	if o.Heap < 0 || o.Turns < 0 {
		return fmt.Errorf("heap %d, turns %d: must not be negative", o.Heap, o.Turns)
	}
	return CheckMethods(o.Methods)
}

// run measures. When ctx ends, the report has what was measured until then and
// says so.
func (r *runner) run(ctx context.Context, experiments []Experiment) error {
	r.started = time.Now()
	r.report.Machine, r.report.Quick = machine.Look(), r.options.Quick
	points := make([][]float64, len(experiments))
	for i := range experiments {
		e := &experiments[i]
		e.Series = r.series(e)
		result := Result{Experiment: e.Name, Question: e.Question, Reference: e.Reference, experiment: e}
		points[i] = r.points(&result)
		r.report.Results = append(r.report.Results, result)
		for _, x := range points[i] {
			r.total += r.estimate(e, x)
		}
	}
	var failed error
	for i := range experiments {
		for _, x := range points[i] {
			if failed == nil && ctx.Err() == nil {
				failed = r.point(ctx, &r.report.Results[i], x)
			}
		}
	}
	if ctx.Err() != nil {
		r.report.Stopped, failed = context.Cause(ctx).Error(), nil
	}
	r.finish(time.Since(r.started))
	return failed
}

// finish computes what follows from the figures.
func (r *runner) finish(took time.Duration) {
	r.report.Results = slices.DeleteFunc(r.report.Results, func(result Result) bool { return len(result.Points) == 0 })
	for i := range r.report.Results {
		result := &r.report.Results[i]
		result.Answer, result.Expected = result.experiment.answer(result), result.expected()
	}
	r.report.LoadAtEnd = machine.Load()
	r.report.Seconds = took.Seconds()
	r.report.Noise = noise(r.report)
}

// series are those of the experiment that the options ask for, and its reference.
func (r *runner) series(e *Experiment) []Series {
	if len(r.options.Methods) == 0 {
		return e.Series
	}
	return slices.DeleteFunc(slices.Clone(e.Series), func(s Series) bool {
		return s != e.Reference && !slices.Contains(r.options.Methods, s.Method)
	})
}

func (r *runner) turns() int {
	switch {
	case r.options.Turns > 0:
		return r.options.Turns
	case r.options.Quick:
		return quickTurns
	}
	return fullTurns
}

func (r *runner) limit() time.Duration {
	if r.options.Quick {
		return quickPoint
	}
	return fullPoint
}

func (r *runner) estimate(e *Experiment, x float64) time.Duration {
	return e.estimate(x, r.turns(), r.touch, r.limit())
}

// timeFor is how long a point may take: less when those before it have taken so long
// that not much is left for it and the rest.
func (r *runner) timeFor(estimate time.Duration) time.Duration {
	whole := fullRun
	if r.options.Quick {
		whole = quickRun
	}
	left := max(0, whole-time.Since(r.started))
	share := float64(estimate) / float64(max(estimate, r.total-r.done))
	return time.Duration(share * float64(left))
}

// points are the values of x, as far as there is memory for them.
func (r *runner) points(result *Result) []float64 {
	e := result.experiment
	xs := e.X
	if r.options.Quick {
		xs = e.Quick
	}
	xs = slices.Clone(xs)
	last := xs[len(xs)-1]
	if r.options.Heap > 0 && e.Axis.Bytes {
		xs = slices.DeleteFunc(xs, func(x float64) bool { return x > float64(r.options.Heap) })
		if !slices.Contains(xs, float64(r.options.Heap)) {
			xs = append(xs, float64(r.options.Heap))
		}
		last = float64(r.options.Heap)
	}
	fits := slices.DeleteFunc(slices.Clone(xs), func(x float64) bool { return e.heapOf(x) > r.memory })
	if len(fits) == len(xs) {
		return xs
	}
	if !e.Axis.Bytes {
		result.Notes = append(result.Notes, fmt.Sprintf("not measured: it needs %s, and there are %s",
			bytesText(float64(e.heapOf(last))), bytesText(float64(max(0, r.memory)))))
		return fits
	}
	// The largest power of two that fits, in place of what doesn't.
	x := math.Exp2(math.Floor(math.Log2(last)))
	for x >= mB && e.heapOf(x) > r.memory {
		x /= 2
	}
	if x >= mB && (len(fits) == 0 || x > fits[len(fits)-1]) {
		fits = append(fits, x)
	}
	result.Notes = append(result.Notes, fmt.Sprintf("no more than %s: %s need %s of memory, and there are %s to take",
		largest(e, fits), e.Axis.format(last), bytesText(float64(e.heapOf(last))), bytesText(float64(max(0, r.memory)))))
	return fits
}

func largest(e *Experiment, xs []float64) string {
	if len(xs) == 0 {
		return "nothing"
	}
	return e.Axis.format(xs[len(xs)-1])
}

// point measures all series at x.
func (r *runner) point(ctx context.Context, result *Result, x float64) error {
	e := result.experiment
	estimate := r.estimate(e, x)
	doing := fmt.Sprintf("%s, %s", e.Name, e.Axis.format(x))
	before := r.done
	r.progress(doing, before)
	defer func() { r.done = before + estimate; r.progress(doing, r.done) }()

	latest := time.Now().Add(r.timeFor(estimate))
	lines, closeAll, err := r.lines(ctx, result, x)
	defer closeAll()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(r.limit())
	if latest.Before(deadline) {
		deadline = latest
	}
	turns := r.turns()
	for i := range turns + 1 { // the first one is the warm-up
		if len(lines) == 0 || ctx.Err() != nil || i > leastTurns && time.Now().After(deadline) {
			break
		}
		var round []map[string]float64
		for j := range lines { // each series is first in its turn
			l := &lines[(i+j)%len(lines)]
			measured, err := l.bench.turn(ctx, l.turn)
			if ctx.Err() != nil {
				break
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", doing, l.series, err)
			}
			l.last = measured
			round = append(round, measured)
		}
		if i > 0 && len(round) == len(lines) {
			for j := range lines {
				lines[j].take()
			}
		}
		r.progress(doing, before+min(estimate, estimate*time.Duration(i+1)/time.Duration(turns+1)))
	}
	result.take(lines, x)
	return nil
}

func (r *runner) progress(doing string, done time.Duration) {
	if r.options.Progress != nil {
		r.options.Progress(Progress{Doing: doing, Done: done, Total: r.total})
	}
}

// A line is a series at a point, with the process that measures it.
type line struct {
	series Series
	bench  bench
	turn   turn
	last   map[string]float64
	turns  map[string][]float64 // by measure
}

func (l *line) take() {
	for name, value := range l.last {
		l.turns[name] = append(l.turns[name], value)
	}
}

// lines opens the measuring processes of a point, one for each setup. A series for
// which none can be had is left out, with a note.
func (r *runner) lines(ctx context.Context, result *Result, x float64) (lines []line, closeAll func(), err error) {
	benches := map[setup]bench{}
	closeAll = func() {
		for _, b := range benches {
			b.close()
		}
	}
	e := result.experiment
	for _, s := range e.Series {
		need, do := e.at(s, x)
		if benches[need] == nil {
			b, err := r.open(ctx, need)
			var lack *lackError
			switch {
			case ctx.Err() != nil:
				return nil, closeAll, nil
			case errors.As(err, &lack):
				result.note(fmt.Sprintf("%s at %s: %v", s, e.Axis.format(x), err))
				continue
			case err != nil:
				return nil, closeAll, fmt.Errorf("%s, %s: %w", e.Name, e.Axis.format(x), err)
			}
			benches[need] = b
		}
		lines = append(lines, line{series: s, bench: benches[need], turn: do, turns: map[string][]float64{}})
	}
	return lines, closeAll, nil
}

func (r *Result) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// A lackError says that this machine doesn't have what a measuring process needs:
// the run goes on without.
type lackError struct{ text string }

func (e *lackError) Error() string { return e.text }

// take makes points of what the lines have measured.
func (r *Result) take(lines []line, x float64) {
	reference := map[string][]float64{}
	for _, l := range lines {
		if l.series == r.Reference {
			reference = l.turns
		}
	}
	for _, l := range lines {
		if len(l.turns) == 0 {
			continue
		}
		p := Point{Series: l.series, X: x, Measured: map[string]Figure{}}
		for name, turns := range l.turns {
			if l.series == r.Reference {
				p.Measured[name] = figure(turns, nil)
			} else {
				p.Measured[name] = figure(turns, reference[name])
			}
		}
		r.Points = append(r.Points, p)
	}
}

// noise tells why the figures are to be doubted.
func noise(report *Report) []string {
	reasons := []string{}
	if report.Others > 0.1 {
		reasons = append(reasons, fmt.Sprintf("other work, or another machine on the same host, took %.0f%% of the processors", 100*report.Others))
	}
	uncertain, all := 0, 0
	for i := range report.Results {
		result := &report.Results[i]
		main := result.experiment.Measures[0]
		for _, p := range result.Points {
			if f, ok := p.Measured[main]; ok {
				all++
				if f.uncertain() {
					uncertain++
				}
			}
		}
	}
	if uncertain*5 > all {
		reasons = append(reasons, fmt.Sprintf("of %d medians %d are uncertain by more than a tenth", all, uncertain))
	}
	return reasons
}

// available is the memory that may be taken: what the kernel says is there for
// new work, or what is left of a limit on this process's control group, less a
// reserve for everybody else.
func available() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	free := int64(0)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "MemAvailable:" {
			kilobytes, _ := strconv.ParseInt(fields[1], 10, 64)
			free = kilobytes << 10
		}
	}
	free = min(free, groupLeft())
	return free - max(free/8, 256*mB)
}
