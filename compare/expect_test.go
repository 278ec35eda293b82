package compare

import (
	"slices"
	"testing"
)

// A verdict is settled where the confidence intervals say the same as the medians.
func TestVerdict(t *testing.T) {
	// A report's ratio of fork-only to its reference at one x: the smallest, the median and
	// the largest of six turns, whose interval is from the smallest to the largest. Of fewer
	// turns there is none.
	for _, test := range []struct {
		check  func(*Result) (Verdict, bool)
		ratios []float64
		want   string
	}{
		{within("fork-only", "wait", 1.05), []float64{1, 1.01, 1.02}, "as expected"},
		{within("fork-only", "wait", 1.05), []float64{1, 1.04, 1.06}, "not settled"},
		{within("fork-only", "wait", 1.05), []float64{1, 1.06, 1.07}, "not settled"},
		{within("fork-only", "wait", 1.05), []float64{1.06, 1.07, 1.08}, "NOT as expected"},
		{notSlower("fork-only", "wait"), []float64{0.9, 0.95, 0.99}, "as expected"},
		{notSlower("fork-only", "wait"), []float64{0.99, 1.02, 1.05}, "as expected"},
		{notSlower("fork-only", "wait"), []float64{0.5, 1.02, 1.5}, "not settled"},
		{notSlower("fork-only", "wait"), []float64{1.01, 1.02, 1.05}, "NOT as expected"},
	} {
		low, median, high := test.ratios[0], test.ratios[1], test.ratios[2]
		f := figure([]float64{low, median, median, median, median, high}, []float64{1, 1, 1, 1, 1, 1})
		r := &Result{experiment: &experiments[1], Points: []Point{{Series: Series{Method: "fork-only"}, X: mB, Measured: map[string]Figure{"wait": f}}}}
		if v, ok := test.check(r); !ok || v.String() != test.want {
			t.Errorf("%v: %s, %v, want %s", test.ratios, v, ok, test.want)
		}
		r.Points[0].Measured["wait"] = figure(test.ratios, []float64{1, 1, 1})
		if v, ok := test.check(r); !ok || v.String() != "not settled" {
			t.Errorf("%v of three turns: %s, %v, want not settled", test.ratios, v, ok)
		}
		if v, ok := test.check(&Result{experiment: &experiments[1]}); ok {
			t.Errorf("a verdict on nothing: %+v", v)
		}
	}
}

// The growth from one x to another is settled by intervals only.
func TestFlatOfFew(t *testing.T) {
	for turns, want := range map[int]string{3: "not settled", 6: "as expected"} {
		var points []Point
		for _, x := range []float64{mB, gB} {
			points = append(points, Point{Series{Method: "helper"}, x, map[string]Figure{"wait": figure(slices.Repeat([]float64{2e6}, turns), nil)}})
		}
		v, ok := flat("helper", "wait", 1.1)(&Result{experiment: &experiments[0], Points: points})
		if !ok || v.String() != want {
			t.Errorf("%d turns: %s (%s), %v, want %s", turns, v, v.Measured, ok, want)
		}
	}
}
