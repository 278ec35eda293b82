package compare

import "testing"

// A verdict is settled where the confidence intervals say the same as the medians.
func TestVerdict(t *testing.T) {
	// A report's ratio of fork-only to its reference at one x, as three turns' values:
	// of fewer than six turns the interval is from the smallest to the largest.
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
		f := figure(test.ratios, []float64{1, 1, 1})
		r := &Result{experiment: &experiments[1], Points: []Point{{Series: Series{Method: "fork-only"}, X: mB, Measured: map[string]Figure{"wait": f}}}}
		if v, ok := test.check(r); !ok || v.String() != test.want {
			t.Errorf("%v: %s, %v, want %s", test.ratios, v, ok, test.want)
		}
		if v, ok := test.check(&Result{experiment: &experiments[1]}); ok {
			t.Errorf("a verdict on nothing: %+v", v)
		}
	}
}
