package probetest

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"

	"rawfork/internal/leftover"
)

// A watch is on a test that forks: what there was before.
type watch struct {
	name                  string
	descriptors, children map[string]string
	beside                []string // tests that ran in parallel with it and have ended
}

// watches are those of the tests that run.
var watches struct {
	sync.Mutex
	of map[testing.TB]*watch
}

// guard looks for leftovers after the test, from its first Fork on.
func guard(t testing.TB) {
	watches.Lock()
	defer watches.Unlock()
	if watches.of[t] != nil {
		return
	}
	if watches.of == nil {
		watches.of = map[testing.TB]*watch{}
	}
	watches.of[t] = &watch{name: t.Name(), descriptors: leftover.Descriptors(), children: leftover.Children()}
	t.Cleanup(func() {
		t.Helper()
		if left := end(t); len(left) > 0 {
			t.Errorf("left behind by the test:\n\t%s", strings.Join(left, "\n\t"))
		}
	})
}

// end ends the watch on a test and returns what is left behind. As long as a test runs
// in parallel nobody knows whose a descriptor is: it is that one's end that tells.
func end(t testing.TB) []string {
	watches.Lock()
	defer watches.Unlock()
	w := watches.of[t]
	delete(watches.of, t)
	if heir := heir(w); heir != nil {
		heir.takeOver(w)
		return nil
	}
	return w.left()
}

// heir is a test that runs in parallel with w's, or nil. Of a test and its subtest it
// is the test, which ends later.
func heir(w *watch) (heir *watch) {
	for _, other := range watches.of {
		if !related(w.name, other.name) && (heir == nil || len(other.name) < len(heir.name)) {
			heir = other
		}
	}
	return heir
}

// related tells whether one of two tests is the other's subtest: they run one in the
// other, not in parallel.
func related(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
}

// takeOver has w look for what other would have looked for: of both it knows what
// there was before either.
func (w *watch) takeOver(other *watch) {
	w.beside = append(append(w.beside, other.name), other.beside...)
	w.descriptors = inBoth(w.descriptors, other.descriptors)
	w.children = inBoth(w.children, other.children)
}

func inBoth(a, b map[string]string) map[string]string {
	both := map[string]string{}
	for key, value := range a {
		if _, ok := b[key]; ok {
			both[key] = value
		}
	}
	return both
}

// left lists what is there now that wasn't before.
func (w *watch) left() []string {
	var left []string
	add := func(kind string, before, now map[string]string) {
		for key, what := range now {
			if _, ok := before[key]; !ok {
				left = append(left, fmt.Sprintf("%s %s: %s", kind, key, what))
			}
		}
	}
	add("descriptor", w.descriptors, leftover.Descriptors())
	add("child", w.children, leftover.Children())
	sort.Strings(left)
	if len(left) > 0 && len(w.beside) > 0 {
		left = append(left, "or by what ran in parallel: "+strings.Join(w.beside, ", "))
	}
	return left
}
