package compare

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Experiment is a question about ways to make a process, and how it is asked.
type Experiment struct {
	Name     string
	Question string
	Axis     Axis
	X        []float64 // ascending
	Quick    []float64 // what a quick run takes of X
	Series   []Series
	// Reference is the series that ratios are taken to.
	Reference Series
	// Measures are the names of what is shown, each in a chart, the first one above
	// all. More is measured.
	Measures []string

	work   work
	starts int          // of each series in a turn
	setup  func(*setup) // what every measuring process of it needs
	vary   func(*setup, *turn, float64)
	answer func(*Result) string
	expect []expectation
}

// An Axis is what is varied.
type Axis struct {
	Text  string
	Bytes bool // a size; else a number
}

func (a Axis) format(x float64) string {
	if a.Bytes {
		return strings.NewReplacer(".00 ", " ", ".0 ", " ").Replace(bytesText(x))
	}
	return count(x)
}

// A Series is one line of a chart: a method, and the kind of memory that the
// caller has.
type Series struct {
	Method string `json:"method"`
	Memory Memory `json:"memory,omitempty"`
}

// Memory is the kind of the memory that a measuring process has.
type Memory string

const (
	Small    Memory = ""         // pages of 4 kB
	Huge     Memory = "huge"     // pages of 2 MB where the kernel has them: MADV_HUGEPAGE
	DontFork Memory = "dontfork" // small ones, with MADV_DONTFORK: no child gets them
)

// String returns such as "fork" and "fork, huge pages".
func (s Series) String() string {
	switch s.Memory {
	case Huge:
		return s.Method + ", huge pages"
	case DontFork:
		return s.Method + ", MADV_DONTFORK"
	}
	return s.Method
}

// A work is what is done with a method in a turn.
type work string

const (
	workExec     work = "exec"     // a program is executed and waited for
	workFork     work = "fork"     // the child ends at once
	workGo       work = "go"       // Go code runs in the child
	workHold     work = "hold"     // the child waits while its parent writes memory
	workParallel work = "parallel" // several programs are started at the same time
	workLatency  work = "latency"  // other goroutines are watched during a start
)

// A setup is what a measuring process is to have. It travels in JSON.
type setup struct {
	Heap        int64  `json:"heap,omitempty"` // resident bytes
	Memory      Memory `json:"memory,omitempty"`
	Threads     int    `json:"threads,omitempty"`
	Mappings    int    `json:"mappings,omitempty"`
	Descriptors int    `json:"descriptors,omitempty"`
	Helper      bool   `json:"helper,omitempty"`
	Ready       int    `json:"ready,omitempty"` // children that the helper keeps booted
	Program     string `json:"program"`         // the program of package program, Stamp
}

// A turn is one piece of work that a measuring process does.
type turn struct {
	Work   work   `json:"work"`
	Method string `json:"method"`
	Starts int    `json:"starts"`
	Pages  int    `json:"pages,omitempty"` // of 4 kB, to write to, for workHold
}

// at is what a series needs at x.
func (e *Experiment) at(s Series, x float64) (setup, turn) {
	need := setup{Memory: s.Memory, Heap: 16 << 20}
	do := turn{Work: e.work, Method: s.Method, Starts: e.starts}
	switch s.Method {
	case "helper", "gochild":
		need.Helper = true
	case "ready":
		need.Helper, need.Ready = true, readyChildren
	}
	if e.setup != nil {
		e.setup(&need)
	}
	e.vary(&need, &do, x)
	return need, do
}

// readyChildren is enough: before each start all are waited for.
const readyChildren = 2

// heapOf is the memory that all measuring processes of a point have together.
func (e *Experiment) heapOf(x float64) int64 {
	var sum int64
	for _, need := range e.setups(x) {
		sum += need.Heap
	}
	return sum
}

// methods are those of its series.
func (e *Experiment) methods() []string {
	var all []string
	for _, s := range e.Series {
		if !slices.Contains(all, s.Method) {
			all = append(all, s.Method)
		}
	}
	return all
}

// setups are the different measuring processes of a point.
func (e *Experiment) setups(x float64) []setup {
	var all []setup
	for _, s := range e.Series {
		if need, _ := e.at(s, x); !slices.Contains(all, need) {
			all = append(all, need)
		}
	}
	return all
}

// opening is about how long the measuring processes of a point take to be set up, with
// touch for each GB that they take.
func (e *Experiment) opening(x float64, touch time.Duration) time.Duration {
	const each = 60 * time.Millisecond
	return time.Duration(len(e.setups(x)))*each + time.Duration(float64(e.heapOf(x))/gB*float64(touch))
}

// estimate is about how long a point takes on a machine with nothing else to do, for
// the time left and nothing more: to open its measuring processes, and for its turns,
// which have a limit.
func (e *Experiment) estimate(x float64, turns int, touch, limit time.Duration) time.Duration {
	const table = 14 * time.Millisecond // for each GB
	_, do := e.at(e.Reference, x)
	start := 3 * time.Millisecond
	switch do.Work {
	case workLatency:
		start = 20 * time.Millisecond // it is watched three times
	case workGo:
		start = 25 * time.Millisecond
	}
	gigabytes := float64(e.heapOf(x)) / gB
	each := time.Duration(len(e.Series)*do.Starts)*start + time.Duration(gigabytes*float64(table)*float64(do.Starts))
	return e.opening(x, touch) + min(limit, each*time.Duration(turns+1))
}

// Experiments returns all experiments.
func Experiments() []Experiment { return slices.Clone(experiments) }

// Find returns the experiments of these names, in the order of the table, or all
// when there are none. [SemanticsName] is known, but is no experiment: nothing is varied.
// The error for a name that isn't there lists those that are.
func Find(names []string) ([]Experiment, error) {
	if len(names) == 0 {
		return Experiments(), nil
	}
	var known []string
	for _, e := range experiments {
		known = append(known, e.Name)
	}
	known = append(known, SemanticsName)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no experiment %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	var found []Experiment
	for _, e := range experiments {
		if slices.Contains(names, e.Name) {
			found = append(found, e)
		}
	}
	return found, nil
}
