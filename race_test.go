//go:build race && linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"context"
	"testing"
	"time"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/internal/load"
	"rawfork/internal/watchdog"
)

// TestRaceDetector counts the children that hang because they run code which the
// race detector watches: it takes locks of its own, such as the one under which it
// moves on to another part of its trace, and another thread may have held one at
// the fork. The same code marked norace never hangs.
func TestRaceDetector(t *testing.T) {
	stop, err := load.Busy()[0].Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	hung, n := 0, tries(4, 20, 400)
	for range n {
		forktest.WantExit(t, forkToRun(t, scribbleUnwatched), 0)
		_, state, err := watchdog.Wait(context.Background(), forkToRun(t, scribble), 4*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if state != "" {
			hung++
		}
	}
	t.Logf("%d of %d children that the race detector watched hung", hung, n)
}

// forkToRun forks a child that runs action and exits with status 0.
//
//go:norace
func forkToRun(t *testing.T, action func()) int {
	pid, err := rawfork.Fork()
	if err != nil {
		t.Fatal(err)
	}
	if pid == 0 {
		action()
		child.Exit(0)
	}
	return pid
}

var scribbled [1 << 16]int

//go:nosplit
func scribble() {
	for i := range 1 << 18 {
		scribbled[i&(1<<16-1)]++
	}
}

//go:nosplit
//go:norace
func scribbleUnwatched() {
	for i := range 1 << 18 {
		scribbled[i&(1<<16-1)]++
	}
}
