//go:build !(linux && cgo && amd64)

package forkall_test

import (
	"errors"
	"testing"

	"rawfork/forkall"
)

// Where threads can't be made anew the calls say so.
func TestUnsupported(t *testing.T) {
	if pid, err := forkall.Fork(); pid != -1 || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Fork() = %d, %v, want -1, ErrUnsupported", pid, err)
	}
	if process, err := forkall.Run(func() int { return 0 }); process != nil || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Run() = %v, %v, want nil, ErrUnsupported", process, err)
	}
	if forkall.InChild() || forkall.Generation() != 0 || forkall.LastFork() != (forkall.Stats{}) {
		t.Error("this looks like a child")
	}
}
