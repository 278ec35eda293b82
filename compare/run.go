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
	Experiments []string // names, SemanticsName among them; none: all
	Methods     []string // names; none: all. References are always measured
	Quick       bool     // fewer points and turns: less than a minute instead of eight
	Heap        int64    // the largest resident memory, in bytes; 0: as in the table, where the machine has it
	Turns       int      // of each series at each point; 0: 20, or 8 for a quick run
	// Progress, if not nil, is told how far the run is.
	Progress func(Progress)
	// Notice, if not nil, is told before anything is measured what will not be
	// measured as asked for, and why. The notes of the results say it again.
	Notice func(string)
}

// Progress is how far a run is.
type Progress struct {
	Doing string        // the experiment and its x
	Done  time.Duration // of Total
	Total time.Duration // about what the run takes on a machine with nothing else to do
	Left  time.Duration // about how long the run still takes, as slow as this machine has been until now
}

// What a run takes when nothing else is asked for.
const (
	fullTurns  = 20
	quickTurns = 8
	leastTurns = 6 // a slow point gets fewer turns, but not fewer than these, which have a confidence interval
	lateTurns  = 3 // and not fewer than these where the run is late
	fullPoint  = 12 * time.Second
	quickPoint = 1500 * time.Millisecond
	fullRun    = 9 * time.Minute
	quickRun   = 50 * time.Second
	// What would end after these is not begun.
	fullEnd  = 9*time.Minute + 45*time.Second
	quickEnd = 55 * time.Second
)

// describing is about how long a look at what the processes are takes.
const describing = time.Second

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
	if err := CheckMethods(o.Methods); err != nil {
		return err
	}
	return o.checkUse()
}

// checkUse tells whether each method is one of some experiment.
func (o Options) checkUse() error {
	var names, there []string
	add := func(experiment string, methods ...string) {
		names = append(names, experiment)
		for _, m := range methods {
			if !slices.Contains(there, m) {
				there = append(there, m)
			}
		}
	}
	found, err := Find(o.Experiments)
	if err != nil {
		return err
	}
	for i := range found {
		add(found[i].Name, found[i].methods()...)
	}
	if o.semantics() {
		add(SemanticsName, described...)
	}
	for _, m := range o.Methods {
		if !slices.Contains(there, m) {
			return fmt.Errorf("no method %q in %s; there are %s", m, strings.Join(names, ", "), strings.Join(there, ", "))
		}
	}
	return nil
}

// semantics tells whether to look at what the processes are.
func (o Options) semantics() bool {
	return len(o.Experiments) == 0 || slices.Contains(o.Experiments, SemanticsName)
}

// described are the methods whose processes are looked at: the reference, and those of
// the options. There are none where none that was asked for can be looked at.
func (o Options) described() []string {
	if !o.semantics() {
		return nil
	}
	if len(o.Methods) == 0 {
		return described
	}
	if !slices.ContainsFunc(o.Methods, func(m string) bool { return slices.Contains(described, m) }) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(described), func(m string) bool {
		return m != described[0] && !slices.Contains(o.Methods, m)
	})
}

// run measures. When ctx ends, the report has what was measured until then and
// says so.
func (r *runner) run(ctx context.Context, experiments []Experiment) error {
	r.started = time.Now()
	r.report.Machine, r.report.Quick, r.report.Measures = machine.Look(), r.options.Quick, Measures()
	points := make([][]float64, len(experiments))
	for i := range experiments {
		e := &experiments[i]
		result := Result{Experiment: e.Name, Question: e.Question, Reference: e.Reference, experiment: e}
		some := r.checkMethods(&result)
		e.Series = r.series(e)
		if some {
			points[i] = r.points(&result)
		}
		r.notice(&result)
		r.report.Results = append(r.report.Results, result)
		for _, x := range points[i] {
			r.total += r.estimate(e, x)
		}
	}
	if r.options.described() != nil {
		r.total += describing
	}
	var failed error
	for i := range experiments {
		result := &r.report.Results[i]
		for _, x := range points[i] {
			if failed == nil && ctx.Err() == nil {
				failed = r.point(ctx, result, x)
			}
		}
		result.ended = failed == nil && ctx.Err() == nil
		if len(result.late) > 0 {
			result.note(fmt.Sprintf("not measured at %s: with this machine's speed and other work there was no time for it in %v",
				strings.Join(result.late, ", "), r.end()))
		}
	}
	if ctx.Err() != nil {
		r.report.Stopped, failed = context.Cause(ctx).Error(), nil
	}
	r.finish(time.Since(r.started))
	return failed
}

// finish computes what follows from the figures. What the run didn't come to is left
// out, but not what it could not measure.
func (r *runner) finish(took time.Duration) {
	r.report.Results = slices.DeleteFunc(r.report.Results, func(result Result) bool {
		return len(result.Points) == 0 && !(result.ended && len(result.Notes) > 0)
	})
	for i := range r.report.Results {
		result := &r.report.Results[i]
		result.Answer, result.Expected = result.experiment.answer(result), result.expected()
		result.noteFew()
	}
	r.report.LoadAtEnd = machine.Load()
	r.report.Seconds = took.Seconds()
	r.report.Noise = noise(r.report)
}

// notice tells what is known before anything is measured.
func (r *runner) notice(result *Result) {
	for _, note := range result.Notes {
		if r.options.Notice != nil {
			r.options.Notice(result.Experiment + ": " + note)
		}
	}
}

// checkMethods notes which of the methods that were asked for the experiment doesn't
// have, and tells whether any is left to measure.
func (r *runner) checkMethods(result *Result) bool {
	has := result.experiment.methods()
	var lacks []string
	for _, m := range r.options.Methods {
		if !slices.Contains(has, m) {
			lacks = append(lacks, m)
		}
	}
	if len(lacks) == 0 {
		return true
	}
	note := fmt.Sprintf("it has no %s; its methods are %s", strings.Join(lacks, ", "), strings.Join(has, ", "))
	some := len(lacks) < len(r.options.Methods)
	if !some {
		note = "not measured: " + note
	}
	result.note(note)
	return some
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

// end is when the run must have ended, from its start.
func (r *runner) end() time.Duration {
	if r.options.Quick {
		return quickEnd
	}
	return fullEnd
}

// pace is how long the machine has taken for a second of the plan, of which done is done.
// At the start the plan itself weighs more than the little that has been seen.
func (r *runner) pace(elapsed, done time.Duration) float64 {
	planned := max(time.Second, r.total/8)
	return float64(elapsed+planned) / float64(done+planned)
}

// left is about how long the run still takes: what is left of its plan, by the pace until
// now.
func (r *runner) left(elapsed, done time.Duration) time.Duration {
	left := time.Duration(r.pace(elapsed, done) * float64(r.total-done))
	return min(left, max(0, r.end()-elapsed))
}

// tooLate tells whether something that is to take so long would end after the run's end.
func (r *runner) tooLate(estimate time.Duration) bool {
	elapsed := time.Since(r.started)
	return r.done > 0 && elapsed+time.Duration(r.pace(elapsed, r.done)*float64(estimate)) > r.end()
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
		result.note(fmt.Sprintf("not measured: it needs %s, and there are %s",
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
	result.note(fmt.Sprintf("no more than %s: %s need %s of memory, and there are %s to take",
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
	if r.tooLate(estimate) {
		result.late = append(result.late, e.Axis.format(x))
		return nil
	}

	latest := time.Now().Add(r.timeFor(estimate))
	lines, closeAll, err := r.lines(ctx, result, x)
	defer closeAll()
	if err != nil {
		return err
	}
	begun := time.Now()
	opened := min(estimate, e.opening(x, r.touch))
	r.progress(doing, before+opened)
	turns := r.turns()
	for i := range turns + 1 { // the first one is the warm-up
		now := time.Now()
		if len(lines) == 0 || ctx.Err() != nil ||
			i > leastTurns && now.Sub(begun) > r.limit() || i > lateTurns && now.After(latest) ||
			i > 1 && now.Sub(r.started) > r.end() {
			break
		}
		var round []map[string]float64
		for j := range lines {
			l := &lines[inTurn(i, j, len(lines))]
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
		// It ends with the turns or with the time, whichever is first.
		share := max(float64(i+1)/float64(turns+1), min(1, float64(time.Since(begun))/float64(r.limit())))
		r.progress(doing, before+opened+time.Duration(share*float64(estimate-opened)))
	}
	result.take(lines, x)
	return nil
}

// inTurn is which of n series is the j-th in round i: A B C, C B A, B C A, A C B, ... Each
// is first in its turn, and none comes after the same one in more than half of the rounds:
// what one leaves behind, such as a cold cache or work in the background, meets others too.
func inTurn(i, j, n int) int {
	if i%2 == 1 {
		j = n - 1 - j
	}
	return (i/2 + j) % n
}

func (r *runner) progress(doing string, done time.Duration) {
	if r.options.Progress != nil {
		r.options.Progress(Progress{Doing: doing, Done: done, Total: r.total, Left: r.left(time.Since(r.started), done)})
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

// noteFew notes where there were too few turns for a confidence interval.
func (r *Result) noteFew() {
	if len(r.Points) == 0 {
		return
	}
	name := r.experiment.Measures[0]
	var few []string
	for _, x := range r.xs() {
		if slices.ContainsFunc(r.Points, func(p Point) bool { f, ok := p.Measured[name]; return p.X == x && ok && !f.known() }) {
			few = append(few, r.x(x))
		}
	}
	if len(few) == 0 {
		return
	}
	at := " at " + strings.Join(few, ", ")
	if len(few) == len(r.xs()) {
		at = ""
	}
	r.note(fmt.Sprintf("fewer than %d turns%s: a median of so few has no 95%% confidence interval, and settles nothing", leastTurns, at))
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
	if !report.measured() {
		return reasons // there are no figures to doubt
	}
	if report.Others > 0.1 {
		reasons = append(reasons, fmt.Sprintf("other work, or another machine on the same host, took %.0f%% of the processors", 100*report.Others))
	}
	uncertain, all := 0, 0
	for i := range report.Results {
		result := &report.Results[i]
		main := result.experiment.Measures[0]
		for _, p := range result.Points {
			if f, ok := p.Measured[main]; ok && f.known() { // else a note says so
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
