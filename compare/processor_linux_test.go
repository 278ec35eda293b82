//go:build linux && cgo && (amd64 || arm64)

package compare

import "testing"

func TestOthers(t *testing.T) {
	for _, test := range []struct {
		before, after times
		want          float64
	}{
		{times{100, 50, 1}, times{200, 100, 51}, 0},
		{times{100, 50, 1}, times{200, 100, 26}, 0.25},
		{times{100, 50, 1}, times{200, 150, 60}, 0}, // the clocks don't tick together
		{times{100, 50, 1}, times{100, 50, 1}, 0},
		{times{}, times{200, 100, 1}, 0}, // unknown
	} {
		if got := test.before.others(test.after); got != test.want {
			t.Errorf("%v to %v: %v, want %v", test.before, test.after, got, test.want)
		}
	}
	if now := processorTime(); now.all <= 0 || now.idle <= 0 || now.idle > now.all || now.own <= 0 {
		t.Errorf("%+v", now)
	}
}
