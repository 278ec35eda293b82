//go:build linux && amd64 && cgo

package isolate

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
)

// Three ways to give each of eight tests a fixture of its own, two of them in parallel;
// an op is all eight.
//
//	go test -run '^$' -bench . -benchtime 3x ./examples/forkall-tests -entries 2000000
func BenchmarkTests(b *testing.B) {
	each := func(run func(i int) error) error {
		var group sync.WaitGroup
		errs := make(chan error, tests)
		for i := range tests {
			group.Go(func() { errs <- run(i) })
		}
		group.Wait()
		for range tests {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	}
	for _, most := range []bool{false, true} {
		what := map[bool]string{false: "a thousandth changed: ", true: "most changed: "}[most]
		for _, way := range []struct {
			name string
			all  func() error
		}{
			{"copies of one process", func() error {
				return each(func(i int) error {
					_, err := inCopy(func(T) { change(fixture, i, most) })
					return err
				})
			}},
			{"a set-up for each, one after the other", func() error {
				for i := range tests {
					change(makeFixture(), i, most)
				}
				return nil
			}},
			{"a process and a set-up for each", func() error {
				return each(func(i int) error {
					cmd := exec.Command("/proc/self/exe", "-entries", strconv.Itoa(*entries))
					cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %v", aloneEnv, i, most))
					return cmd.Run()
				})
			}},
		} {
			b.Run(what+way.name, func(b *testing.B) {
				for b.Loop() {
					if err := way.all(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// aloneEnv has a process run one test, by its number and how much it changes, and end.
const aloneEnv = "ISOLATE_ALONE"

func alone() int {
	var i int
	var most bool
	if _, err := fmt.Sscan(os.Getenv(aloneEnv), &i, &most); err != nil {
		fmt.Fprintf(os.Stderr, "isolate: %s: %v\n", aloneEnv, err)
		return 1
	}
	change(fixture, i, most)
	return 0
}
