package timing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"rawfork/internal/text"
)

// A Run is what became of a program that was run, and what it took.
type Run struct {
	Status syscall.WaitStatus
	Wall   time.Duration // from before the fork until the program was reaped
	User   time.Duration // processor time in the program
	System time.Duration // processor time in the kernel for it
	Peak   int64         // the most memory that was resident, in bytes; see PeakFloor
}

// Exit returns the exit status that a shell gives to the run: the program's own,
// or 128 and the number of the signal that ended it.
func (r Run) Exit() int {
	if r.Status.Signaled() {
		return 128 + int(r.Status.Signal())
	}
	return r.Status.ExitStatus()
}

// Interrupted tells whether Ctrl-C or Ctrl-\ ended the run.
func (r Run) Interrupted() bool {
	return r.Status.Signaled() && (r.Status.Signal() == syscall.SIGINT || r.Status.Signal() == syscall.SIGQUIT)
}

// end is how the run ended, in words.
func (r Run) end() string {
	if !r.Status.Signaled() {
		return fmt.Sprintf("exit status %d", r.Status.ExitStatus())
	}
	end := fmt.Sprintf("killed by %s (%v)", signalName(r.Status.Signal()), r.Status.Signal())
	if r.Status.CoreDump() {
		end += ", core dumped"
	}
	return end
}

// A Series is one program, run one or more times.
type Series struct {
	Program *Program
	Runs    []Run
	Floor   int64 // of the peaks, from PeakFloor
}

// Exit is that of the first run that failed, or 0.
func (s Series) Exit() int {
	for _, run := range s.Runs {
		if code := run.Exit(); code != 0 {
			return code
		}
	}
	return 0
}

// ends counts how the runs ended: "exit status 0", or "9 x exit status 0, 1 x
// exit status 3", the most frequent end first.
func (s Series) ends() string {
	count := map[string]int{}
	var ends []string
	for _, run := range s.Runs {
		end := run.end()
		if count[end] == 0 {
			ends = append(ends, end)
		}
		count[end]++
	}
	if len(ends) == 1 {
		return ends[0]
	}
	slices.SortStableFunc(ends, func(a, b string) int { return cmp.Compare(count[b], count[a]) })
	for i, end := range ends {
		ends[i] = fmt.Sprintf("%d x %s", count[end], end)
	}
	return strings.Join(ends, ", ")
}

// Text is the report for a person: one column for one run, else min, median and
// max of each measure.
func (s Series) Text(style text.Style) string {
	title := strings.Join(s.Program.Argv, " ")
	if len(s.Runs) > 1 {
		title = fmt.Sprintf("%d runs of %s", len(s.Runs), title)
	}
	end := style.Good(s.ends())
	if s.Exit() != 0 {
		end = style.Bad(s.ends())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", style.Bold(text.Printable(title)), end)
	if len(s.Runs) > 1 {
		fmt.Fprintf(&b, "  %-7s%11s%11s%11s\n", "", "min", "median", "max")
	}
	for _, m := range measures {
		fmt.Fprintf(&b, "  %-7s", m.name)
		for _, value := range spread(s.Runs, m.of) {
			fmt.Fprintf(&b, "%11s", m.show(s, value))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// measures is what a run is measured by, in the order of the report.
var measures = []struct {
	name string
	of   func(Run) int64
	show func(Series, int64) string
}{
	{"wall", func(r Run) int64 { return int64(r.Wall) }, showDuration},
	{"user", func(r Run) int64 { return int64(r.User) }, showDuration},
	{"system", func(r Run) int64 { return int64(r.System) }, showDuration},
	{"memory", func(r Run) int64 { return r.Peak }, Series.showPeak},
}

// spread is the only value of one run, or min, median and max of several. The
// median of an even number is the lower of the two in the middle: a value that
// was measured.
func spread(runs []Run, of func(Run) int64) []int64 {
	values := make([]int64, len(runs))
	for i, run := range runs {
		values[i] = of(run)
	}
	slices.Sort(values)
	if len(values) == 1 {
		return values
	}
	return []int64{values[0], values[(len(values)-1)/2], values[len(values)-1]}
}

func showDuration(_ Series, v int64) string {
	d := time.Duration(v)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.3f s", d.Seconds())
	}
	return fmt.Sprintf("%d:%04.1f min", int(d.Minutes()), (d % time.Minute).Seconds())
}

// hidden tells whether a peak is too near to the floor to be the program's own.
// The kernel's count of resident pages is exact to some dozens of pages.
func (s Series) hidden(peak int64) bool { return peak <= s.Floor+s.Floor/8 }

func (s Series) showPeak(peak int64) string {
	mark := ""
	if s.hidden(peak) {
		mark = "< "
	}
	return fmt.Sprintf("%s%.1f MB", mark, float64(peak)/1e6)
}
