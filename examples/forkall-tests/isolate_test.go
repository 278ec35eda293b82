//go:build linux && amd64 && cgo

package isolate

import (
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// In full: go test -v ./examples/forkall-tests -entries 2000000
var entries = flag.Int("entries", 20_000, "size of the fixture")

// fixture is what takes long to set up: here, a map.
var fixture map[int]string

var setUp time.Duration

func TestMain(m *testing.M) {
	flag.Parse()
	start := time.Now()
	fixture = makeFixture()
	setUp = time.Since(start)
	if os.Getenv(aloneEnv) != "" {
		os.Exit(alone())
	}
	os.Exit(m.Run())
}

func makeFixture() map[int]string {
	f := map[int]string{}
	for i := range *entries {
		f[i] = fmt.Sprint("entry ", i)
	}
	return f
}

// tests is how many there are that change the fixture.
const tests = 8

// change is what test i does to the fixture: it looks at all of it, and deletes a
// thousandth, or most.
func change(f map[int]string, i int, most bool) {
	for key := range f {
		if most && key%tests != i || !most && key%1000 == i {
			delete(f, key)
		}
	}
}

// Each test changes what belongs to the whole process, and none sees the others'
// changes, although all run at the same time.
func TestIsolated(t *testing.T) {
	start := time.Now()
	t.Run("group", func(t *testing.T) {
		for i := range tests {
			Run(t, fmt.Sprint(i), func(t T) {
				if len(fixture) != *entries || os.Getenv("ISOLATED") != "" {
					t.Fatalf("found %d entries and %q, want %d and none", len(fixture), os.Getenv("ISOLATED"), *entries)
				}
				os.Setenv("ISOLATED", fmt.Sprint(i))
				if err := os.Chdir("/"); err != nil {
					t.Errorf("%v", err)
				}
				change(fixture, i, true)
				for key := range fixture {
					if key%tests != i {
						t.Errorf("key %d", key)
					}
				}
			})
		}
	})
	if len(fixture) != *entries {
		t.Errorf("the fixture has %d entries, want %d", len(fixture), *entries)
	}
	t.Logf("the fixture took %v, once; %d tests that change it, each in a copy, took %v", setUp.Round(time.Millisecond),
		tests, time.Since(start).Round(time.Millisecond))
}

// How a test in a copy ends is told from how it should.
func TestFailures(t *testing.T) {
	var ran atomic.Bool
	for _, c := range []struct {
		name, text string
		test       func(T)
		ok         bool
	}{
		{"well", "", func(T) {}, true},
		{"Errorf", "wrong 1\nand 2\n", func(t T) { t.Errorf("wrong %d", 1); t.Errorf("and 2") }, false},
		{"Fatalf", "end\n", func(t T) { t.Fatalf("end"); ran.Store(true) }, false},
		{"os.Exit", "", func(T) { os.Exit(0) }, false},
		{"panic", "", func(T) { panic("wrong") }, false},
		{"change", "", func(T) { ran.Store(true) }, true},
	} {
		text, err := inCopy(c.test)
		if (err == nil) != c.ok || string(text) != c.text {
			t.Errorf("%s: %q, %v, want %q and success %v", c.name, text, err, c.text, c.ok)
		}
	}
	if ran.Load() {
		t.Error("what a copy did is seen here")
	}
}
