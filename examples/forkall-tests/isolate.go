//go:build linux && amd64

// Package isolate runs tests in copies of a process that is set up once: each has
// the fixture to itself, whatever the others do to it, and all run in parallel.
//
//	func TestMain(m *testing.M) { db = load(); os.Exit(m.Run()) } // takes long, once
//
//	func TestDrop(t *testing.T) {
//		isolate.Run(t, "drop", func(t isolate.T) { db.Drop("users") })
//		isolate.Run(t, "count", func(t isolate.T) { // has its users
//			if n := db.Count("users"); n != 3 {
//				t.Errorf("%d users, want 3", n)
//			}
//		})
//	}
package isolate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"

	"rawfork/forkall"
)

// T is what a test in a copy may do. It is not a *testing.T: that one lives in the
// process of go test.
type T struct{ report *report }

// report is what a copy writes for its parent.
type report struct {
	text   bytes.Buffer
	failed bool
}

// Errorf reports a failure and goes on.
func (t T) Errorf(format string, args ...any) {
	fmt.Fprintf(&t.report.text, format+"\n", args...)
	t.report.failed = true
}

// Fatalf reports a failure and ends the test.
func (t T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// Run runs test as a subtest, in a copy of this process, in parallel to others. A
// panic and os.Exit in it are failures of that test alone.
func Run(t *testing.T, name string, test func(T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		text, err := inCopy(test)
		if err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

// Exit statuses of a copy. Another one, 0 too, comes from what the test did.
const (
	passed = 40
	failed = 41
)

// turn is held during a fork. In the copy it is never given back: copies of the
// goroutines of other tests wait there, and don't fork as well.
var turn sync.Mutex

// inCopy runs test in a copy, and returns what it says.
func inCopy(test func(T)) (text []byte, err error) {
	// Not a pipe: other copies, forked meanwhile, would keep it from ending.
	file, err := os.CreateTemp("", "isolate")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return nil, err
	}
	turn.Lock()
	process, err := forkall.Run(func() int { return run(test, file) })
	turn.Unlock()
	if err != nil {
		return nil, err
	}
	state, err := process.Wait()
	if forkall.InChild() {
		select {} // a copy of this goroutine, in another test's process
	}
	if err != nil {
		return nil, err
	}
	if state.ExitCode() != passed {
		err = fmt.Errorf("failed: %v", state)
	}
	text, readErr := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
	return text, errors.Join(err, readErr)
}

// run is what the copy does.
func run(test func(T), file *os.File) (status int) {
	report := &report{}
	done := make(chan bool)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				panic(p) // ends the copy, before run goes on
			}
			close(done) // Fatalf ends this goroutine
		}()
		test(T{report})
	}()
	<-done
	if _, err := file.Write(report.text.Bytes()); err != nil || report.failed {
		return failed
	}
	return passed
}
