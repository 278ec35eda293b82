package probe_test

import (
	"errors"
	"testing"

	"rawfork/probe"
)

// A program that uses a probe builds everywhere, and is told where there is none.
func TestPortable(t *testing.T) {
	x := new(int)
	p, err := probe.Fork()
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.SetTimeout(probe.DefaultTimeout)
	if err := probe.Store(p, x, 1); err != nil {
		t.Error(err)
	}
	if got, err := probe.Load(p, x); got != 1 || err != nil {
		t.Errorf("the child has %d, %v, want 1", got, err)
	}
	if _, err := p.Peek(probe.Addr(x), 1); err != nil {
		t.Error(err)
	}
	if err := p.Exit(0); err != nil {
		t.Error(err)
	}
	var dead *probe.DeadError
	if _, err := p.Getpid(); !errors.As(err, &dead) {
		t.Errorf("a call to the dead child: %v, want a %T", err, dead)
	}
	if status, err := p.Wait(); status != 0 || err != nil {
		t.Errorf("wait status %v, %v, want 0", status, err)
	}
}
