package forktest

import (
	"os"
	"path/filepath"
	"testing"

	"rawfork/internal/program"
)

// ExitProgram makes a program that exits with status 0.
func ExitProgram(t testing.TB) (path string) { return executable(t, program.Exit()) }

// PauseProgram makes a program that writes one byte to the descriptor ready, at
// most 65,535, and then waits for a signal for ever.
func PauseProgram(t testing.TB, ready int) (path string) {
	return executable(t, program.Pause(ready))
}

// executable writes an executable file that anybody may run, and removes it after
// the test.
func executable(t testing.TB, image []byte) (path string) {
	t.Helper()
	path, err := program.Write(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(path)) })
	return path
}
