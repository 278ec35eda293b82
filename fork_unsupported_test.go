//go:build !(linux && cgo && (amd64 || arm64))

package rawfork_test

import (
	"errors"
	"os"
	"testing"

	"rawfork"
)

// Where there is no fork the calls say so.
func TestUnsupported(t *testing.T) {
	if pid, err := rawfork.Fork(); pid != -1 || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Fork() = %d, %v, want -1, ErrUnsupported", pid, err)
	}
	if pid, err := rawfork.Serve(0, func(int) {}); pid != -1 || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Serve(0) = %d, %v, want -1, ErrUnsupported", pid, err)
	}
	if pid, err := rawfork.ServeConn(os.Stdin, func(int) {}); pid != -1 || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ServeConn(stdin) = %d, %v, want -1, ErrUnsupported", pid, err)
	}
}
