package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Verdict says of something that was expected whether it is so.
type Verdict struct {
	Claim    string `json:"claim"`
	Holds    bool   `json:"holds"`   // by the medians
	Settled  bool   `json:"settled"` // the confidence intervals say the same as the medians
	Measured string `json:"measured"`
}

// String is what the verdict comes to, in two or three words.
func (v Verdict) String() string {
	switch {
	case !v.Settled:
		return "not settled"
	case v.Holds:
		return "as expected"
	}
	return "NOT as expected"
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

// within expects a ratio to the reference of at most limit, at every x that was
// measured. It is settled where one interval is above the limit, or all are below.
func within(method, name string, limit float64) func(*Result) (Verdict, bool) {
	return everywhere(method, name, func(v *Verdict, ratios []Interval) { v.judge(limit, ratios...) })
}

// notSlower expects no ratio whose interval is all above 1. It is settled where there
// is one, or none reaches further than a tenth above.
func notSlower(method, name string) func(*Result) (Verdict, bool) {
	return everywhere(method, name, func(v *Verdict, ratios []Interval) {
		v.judge(1.1, ratios...)
		v.Holds = !slices.ContainsFunc(ratios, func(i Interval) bool { return i.Lo > 1 })
		v.Settled = v.Settled || !v.Holds
	})
}

// everywhere judges the ratios at every x that was measured.
func everywhere(method, name string, judge func(*Verdict, []Interval)) func(*Result) (Verdict, bool) {
	return func(r *Result) (v Verdict, ok bool) {
		var ratios []Interval
		var parts []string
		for _, x := range r.xs() {
			if f, measured := r.at(Series{Method: method}, name, x); measured && f.Ratio != nil {
				ratios = append(ratios, *f.Ratio)
				parts = append(parts, fmt.Sprintf("%s at %s", f.Ratio.spread(), r.x(x)))
			}
		}
		judge(&v, ratios)
		v.Measured = strings.Join(parts, ", ")
		return v, len(ratios) > 0
	}
}

// judge holds ratios against a limit.
func (v *Verdict) judge(limit float64, ratios ...Interval) {
	v.Holds, v.Settled = true, true
	above := false
	for _, i := range ratios {
		v.Holds = v.Holds && i.Median <= limit
		v.Settled = v.Settled && float64(i.Hi) <= limit
		above = above || float64(i.Lo) > limit
	}
	v.Settled = v.Settled || above
}

// spread writes a ratio and its interval, as "1.03× [1.01, 1.06]".
func (i Interval) spread() string {
	if !i.known() {
		return ratio(i.Median) + " [unknown]"
	}
	return fmt.Sprintf("%s [%.3g, %.3g]", ratio(i.Median), i.Lo, i.Hi)
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
		growth := Interval{b.Median / a.Median, b.Lo / a.Hi, b.Hi / a.Lo}
		v.judge(limit, growth)
		v.Measured = fmt.Sprintf("%s at %s, %s at %s: %s", nanos(a.Median), r.x(from), nanos(b.Median), r.x(to), growth.spread())
		return v, true
	}
}

// hugeFifth is about 1 GB, or the x that is nearest to it and not less than half.
func hugeFifth(r *Result) (v Verdict, ok bool) {
	best := math.Inf(1)
	for _, x := range r.xs() {
		f, measured := r.at(Series{"fork-only", Huge}, "wait", x)
		if distance := math.Abs(math.Log2(x / gB)); distance <= 1 && measured && f.Ratio != nil && distance < best {
			best, ok = distance, true
			v.judge(0.2, *f.Ratio)
			v.Measured = fmt.Sprintf("%s at %s", f.Ratio.spread(), r.x(x))
		}
	}
	return v, ok
}
