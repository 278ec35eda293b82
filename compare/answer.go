package compare

import (
	"fmt"
	"strings"
)

// An answer is a sentence or two computed from the figures. What was not measured
// is left out, so that a run that was stopped, or had only some of the methods,
// answers what it can.

// say joins the sentences that could be made.
func say(sentences ...string) string {
	var said []string
	for _, s := range sentences {
		if s != "" {
			said = append(said, s)
		}
	}
	if len(said) == 0 {
		return "Too little was measured for an answer."
	}
	return strings.Join(said, " ")
}

// ends are the smallest and the largest x, and whether there are two.
func (r *Result) ends() (from, to float64, ok bool) {
	xs := r.xs()
	if len(xs) == 0 {
		return 0, 0, false
	}
	return xs[0], xs[len(xs)-1], len(xs) > 1
}

func (r *Result) x(x float64) string { return r.experiment.Axis.format(x) }

// from tells how a series went from the smallest x to the largest: "fork 2.10 ms to
// 16.0 ms".
func (r *Result) from(s Series, name string) string {
	from, to, ok := r.ends()
	a, ok1 := r.at(s, name, from)
	b, ok2 := r.at(s, name, to)
	if !ok1 || !ok2 {
		return ""
	}
	m := measure(name)
	if !ok {
		return fmt.Sprintf("%s %s", s, m.format(a.Median))
	}
	return fmt.Sprintf("%s %s to %s", s, m.format(a.Median), m.format(b.Median))
}

// growth is from for several series, as one sentence that says what it is about.
func (r *Result) growth(name string, all ...Series) string {
	from, to, ok := r.ends()
	var parts []string
	for _, s := range all {
		if part := r.from(s, name); part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	about := strings.ToUpper(measure(name).Text[:1]) + measure(name).Text[1:]
	if !ok {
		return fmt.Sprintf("%s, at %s: %s.", about, r.x(from), strings.Join(parts, ", "))
	}
	return fmt.Sprintf("%s, from %s to %s: %s.", about, r.x(from), r.x(to), strings.Join(parts, ", "))
}

// ratios compares series with the reference at the largest x.
func (r *Result) ratios(name string, all ...Series) string {
	_, to, _ := r.ends()
	var parts []string
	for _, s := range all {
		if f, ok := r.at(s, name, to); ok && f.Ratio != nil {
			parts = append(parts, fmt.Sprintf("%s %s", s, ratio(f.Ratio.Median)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("The same at %s, in times of %s: %s.", r.x(to), r.Reference, strings.Join(parts, ", "))
}

// ratio writes a ratio as "1.03×" and "0.0052×".
func ratio(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f×", v)
	case v >= 10:
		return fmt.Sprintf("%.1f×", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f×", v)
	}
	return fmt.Sprintf("%.2g×", v)
}

func answerHeap(r *Result) string {
	return say(r.growth("wait", plain("syscall", "fork", "helper")...),
		r.ratios("wait", plain("fork", "vfork", "spawn", "helper", "osexec", "cfork", "cvfork")...))
}

func answerFork(r *Result) string {
	var parts []string
	for _, x := range r.xs() {
		if f, ok := r.at(Series{Method: "fork-only"}, "wait", x); ok && f.Ratio != nil {
			parts = append(parts, fmt.Sprintf("%s at %s", f.Ratio.spread(), r.x(x)))
		}
	}
	if len(parts) == 0 {
		return say(r.growth("wait", r.series()...))
	}
	return say("Fork, child.Exit and Wait together take, in times of fork, _exit and waitpid in C: "+strings.Join(parts, ", ")+".",
		r.growth("wait", plain("fork-only", "cfork-only")...),
		r.growth("return", plain("fork-only", "cfork-only")...))
}

func answerHuge(r *Result) string {
	return say(r.growth("wait", r.series()...), r.ratios("wait", Series{"fork-only", Huge}, Series{"fork-only", DontFork}))
}

func answerTables(r *Result) string {
	_, to, _ := r.ends()
	tell := func(name, text string) string {
		var parts []string
		for _, s := range r.series() {
			if f, ok := r.at(s, name, to); ok {
				parts = append(parts, fmt.Sprintf("%s %s", s, measure(name).format(f.Median)))
			}
		}
		if len(parts) == 0 {
			return ""
		}
		return fmt.Sprintf("At %s %s: %s.", r.x(to), text, strings.Join(parts, ", "))
	}
	return say(tell("tables", "the new process has page tables of its own of"),
		tell("shared", "it shares with its parent"))
}

func answerWritten(r *Result) string {
	_, to, _ := r.ends()
	var parts []string
	for _, s := range r.series() {
		faults, ok := r.at(s, "write-faults", to)
		took, ok2 := r.at(s, "write", to)
		if ok && ok2 {
			parts = append(parts, fmt.Sprintf("%s with %s (%s page faults)", nanos(took.Median), s, count(faults.Median)))
		}
	}
	if len(parts) == 0 {
		return say()
	}
	return say(fmt.Sprintf("Writing to %s pages takes %s.", r.x(to), strings.Join(parts, ", ")))
}

func answerLatency(r *Result) string {
	_, to, _ := r.ends()
	var sentences []string
	for _, about := range []struct{ measure, text string }{
		{"gap-fault", "The longest stop during one start, the median of the turns, at %s, of a goroutine that touches new memory: %s."},
		{"gap-stw", "The longest time that stopping the world took, at %s: %s."},
		{"gap-compute", "The longest stop of a goroutine that only computes, at %s: %s."},
	} {
		var parts []string
		for _, s := range r.series() {
			if f, ok := r.at(s, about.measure, to); ok {
				parts = append(parts, fmt.Sprintf("%s %s", s, nanos(f.Median)))
			}
		}
		if len(parts) > 0 {
			sentences = append(sentences, fmt.Sprintf(about.text, r.x(to), strings.Join(parts, ", ")))
		}
	}
	return say(sentences...)
}

func answerGrowth(r *Result) string {
	return say(r.growth("wait", plain("syscall", "fork", "vfork", "helper")...),
		r.ratios("wait", plain("fork", "vfork", "spawn", "helper")...))
}

func answerParallel(r *Result) string {
	return say(r.growth("each", plain("syscall", "fork", "vfork", "helper")...),
		r.ratios("each", plain("fork", "vfork", "spawn", "helper", "osexec")...),
		r.growth("half", plain("syscall", "fork", "vfork", "helper")...))
}

func answerReady(r *Result) string {
	return say(r.growth("first", plain("syscall", "gochild", "ready")...),
		r.ratios("first", plain("osexec", "gochild", "ready")...))
}
