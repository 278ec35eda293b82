//go:build cgo && (amd64 || arm64)

package probe_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"rawfork/probe"
)

// Close ends a call that another goroutine is making, and doesn't wait for it.
func TestCloseEndsACall(t *testing.T) {
	p := fork(t)
	p.SetTimeout(1 << 62)
	call := p.Start(unix.SYS_PPOLL, nil, 0, nil, nil, 0)
	check(t, call.Blocked())
	ended := make(chan error)
	go func() {
		_, err := call.Wait()
		ended <- err
	}()
	check(t, p.Close())
	var dead *probe.DeadError
	if err := <-ended; !errors.As(err, &dead) && !errors.Is(err, os.ErrClosed) {
		t.Errorf("the call: %v, want that the child is dead or the probe closed", err)
	}
	_, err := call.Wait() // it doesn't read from a descriptor that was closed
	if !errors.As(err, &dead) && !errors.Is(err, os.ErrClosed) {
		t.Errorf("the call, afterwards: %v, want that the child is dead or the probe closed", err)
	}
}
