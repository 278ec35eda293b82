package compare

import (
	"fmt"
	"math"
	"strings"
)

// A Verdict says of something that was expected whether it is so.
type Verdict struct {
	Claim    string `json:"claim"`
	Holds    bool   `json:"holds"`
	Measured string `json:"measured"`
}

// An expectation is a claim and its check. ok is false where too little was
// measured to say.
type expectation struct {
	claim string
	check func(*Result) (v Verdict, ok bool)
}

// expected are the verdicts on what was expected of the experiment.
func (r *Result) expected() []Verdict {
	var all []Verdict
	for _, e := range r.experiment.expect {
		if v, ok := e.check(r); ok {
			v.Claim = e.claim
			all = append(all, v)
		}
	}
	return all
}

// everywhere holds where good does at every x that was measured.
func everywhere(method, name string, good func(Interval) bool) func(*Result) (Verdict, bool) {
	return func(r *Result) (v Verdict, ok bool) {
		v.Holds = true
		var parts []string
		for _, x := range r.xs() {
			f, measured := r.at(Series{Method: method}, name, x)
			if !measured || f.Ratio == nil {
				continue
			}
			v.Holds = v.Holds && good(*f.Ratio)
			parts = append(parts, fmt.Sprintf("%s at %s", ratio(f.Ratio.Median), r.x(x)))
		}
		v.Measured = strings.Join(parts, ", ")
		return v, len(parts) > 0
	}
}

// within expects a ratio to the reference of at most limit.
func within(method, name string, limit float64) func(*Result) (Verdict, bool) {
	return everywhere(method, name, func(i Interval) bool { return i.Median <= limit })
}

// notSlower expects a ratio whose interval isn't all above 1.
func notSlower(method, name string) func(*Result) (Verdict, bool) {
	return everywhere(method, name, func(i Interval) bool { return i.Lo <= 1 })
}

// flat expects the largest x to cost at most limit times as much as the smallest.
func flat(method, name string, limit float64) func(*Result) (Verdict, bool) {
	return func(r *Result) (v Verdict, ok bool) {
		from, to, ok := r.ends()
		a, ok1 := r.at(Series{Method: method}, name, from)
		b, ok2 := r.at(Series{Method: method}, name, to)
		if !ok || !ok1 || !ok2 {
			return v, false
		}
		v.Holds = b.Median <= limit*a.Median
		v.Measured = fmt.Sprintf("%s at %s, %s at %s", nanos(a.Median), r.x(from), nanos(b.Median), r.x(to))
		return v, true
	}
}

// hugeFifth is about 1 GB, or the x that is nearest to it.
func hugeFifth(r *Result) (v Verdict, ok bool) {
	best := math.Inf(1)
	for _, x := range r.xs() {
		f, measured := r.at(Series{"fork-only", Huge}, "wait", x)
		if distance := math.Abs(math.Log(x / gB)); measured && f.Ratio != nil && distance < best {
			best, ok = distance, true
			v.Holds = f.Ratio.Median <= 0.2
			v.Measured = fmt.Sprintf("%s at %s", ratio(f.Ratio.Median), r.x(x))
		}
	}
	return v, ok
}
