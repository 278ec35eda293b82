package rules

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Report is what one run of the caveats and of the matrix found.
type Report struct {
	Machine  string    `json:"machine"`
	Showings []Showing `json:"caveats"`
	Cells    []Cell    `json:"matrix"`
}

// Failures lists what the library did wrong; none is as it should be.
func (r Report) Failures() []string {
	var failures []string
	for _, s := range r.Showings {
		if s.Failed() {
			failures = append(failures, fmt.Sprintf("%s: the library's way: %s", s.ID, Counts(s.Good, s.Tries)))
		}
	}
	for _, c := range r.Cells {
		if c.Failed() {
			failures = append(failures, fmt.Sprintf("%s, parent %s, GOMAXPROCS %d: %d of %d hung, %d ended wrongly: %s",
				c.Action, c.Load, c.Procs, c.Hung, c.Forks, c.Wrong, c.Detail))
		}
	}
	return failures
}

// Counts puts the counts of a showing into words, the most frequent first.
func Counts(counts map[string]int, tries int) string {
	var hows []string
	for how := range counts {
		hows = append(hows, how)
	}
	slices.SortFunc(hows, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	for i, how := range hows {
		hows[i] = fmt.Sprintf("%d of %d %s", counts[how], tries, how)
	}
	return strings.Join(hows, ", ")
}

// Sum adds up the cells that keep holds for.
func Sum(cells []Cell, keep func(Cell) bool) (sum Cell) {
	for _, c := range cells {
		if keep(c) {
			sum.Forks += c.Forks
			sum.OK += c.OK
			sum.Hung += c.Hung
			sum.Wrong += c.Wrong
		}
	}
	return sum
}

// Summary says in a line how many of the caveats were shown, and which were not.
func (r Report) Summary() string {
	var missed []string
	for _, s := range r.Showings {
		if s.Shown == 0 {
			missed = append(missed, s.ID)
		}
	}
	line := fmt.Sprintf("%d of %d caveats shown", len(r.Showings)-len(missed), len(r.Showings))
	if len(missed) > 0 {
		line += "; not shown this time: " + strings.Join(missed, ", ")
	}
	return line
}

// measured begins the lines of the document that hold figures.
const measured = "Measured: "

// Markdown is the document CAVEATS.md.
func (r Report) Markdown() string {
	var b strings.Builder
	b.WriteString(`# Caveats of fork in Go

Each caveat is shown by a demonstration that really goes wrong, over many tries and
under a watchdog, beside the library's way, which doesn't. ` + "`rawfork caveats`" + ` runs them
on your machine, and ` + "`rawfork caveats --run ID`" + ` one of them, each in a process of its own.
This page is generated from the same table, by ` + "`go generate ./rules`" + `.
Before Go 1.26 the guard doesn't see recover, which then does nothing.

`)
	fmt.Fprintf(&b, "%s%s\n", measured, r.Machine)
	if len(r.Showings) > 0 {
		fmt.Fprintf(&b, "%s%s\n", measured, r.Summary())
	}
	showings := map[string]Showing{}
	for _, s := range r.Showings {
		showings[s.ID] = s
	}
	for _, c := range Caveats() {
		fmt.Fprintf(&b, "\n## %s\n\n%s %s\n\nSource: %s.\n", c.ID, c.Claim, c.Why, c.Source)
		if c.Instead != "" {
			fmt.Fprintf(&b, "Instead: %s.\n", c.Instead)
		}
		if len(c.Build) > 0 {
			fmt.Fprintf(&b, "Shown in a program built with %s.\n", strings.Join(c.Build, " "))
		}
		if s, ok := showings[c.ID]; ok {
			fmt.Fprintf(&b, "\n%s%s: %s (parent: %s).", measured, s.Verdict(), Counts(s.Bad, s.Tries), s.Load)
			if s.Good != nil {
				fmt.Fprintf(&b, " Instead, %s.", Counts(s.Good, s.Tries))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString(`
## The hang matrix

Children of every kind, under every load of the parent, with GOMAXPROCS of 1, 2 and
8. Beside them the control: a plain fork through cgo that returns to Go. A control
that doesn't hang is in the table all the same.

`)
	r.matrixTable(&b)
	return b.String()
}

// matrixTable sums the matrix up: a line for each action and kind of fork, a column
// for each load.
func (r Report) matrixTable(b *strings.Builder) {
	var loads []string
	type line struct {
		control bool
		action  string
	}
	var lines []line
	for _, c := range r.Cells {
		if !slices.Contains(loads, c.Load) {
			loads = append(loads, c.Load)
		}
		if l := (line{c.Control, c.Action}); !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int {
		if a.control == b.control {
			return 0
		} else if b.control {
			return -1
		}
		return 1
	})
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "| hung children, parent: | %s |\n|---|%s\n", strings.Join(loads, " | "), strings.Repeat("---|", len(loads)))
	for _, l := range lines {
		name := "Fork: " + l.action
		if l.control {
			name = "plain fork: " + l.action
		}
		fmt.Fprintf(b, "| %s |", name)
		for _, load := range loads {
			sum := Sum(r.Cells, func(c Cell) bool { return c.Control == l.control && c.Action == l.action && c.Load == load })
			fmt.Fprintf(b, " %d of %d |", sum.Hung, sum.Forks)
		}
		b.WriteString("\n")
	}
}

// Unmeasured is a document without what was measured: what follows from the table
// of caveats alone.
func Unmeasured(document string) string {
	var kept []string
	for _, line := range strings.Split(document, "\n") {
		if !strings.HasPrefix(line, measured) && !strings.HasPrefix(line, "|") {
			kept = append(kept, line)
		}
	}
	for i := 0; i < len(kept)-1; {
		if kept[i] == "" && kept[i+1] == "" {
			kept = slices.Delete(kept, i, i+1)
		} else {
			i++
		}
	}
	return strings.TrimSpace(strings.Join(kept, "\n"))
}

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}
