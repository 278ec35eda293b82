//go:build cgo && (amd64 || arm64)

package rawfork_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rawfork/internal/forktest"
)

// printEveryByte prints, by the runtime's print, every string of one byte in
// every way that Go makes one.
func printEveryByte() {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
		print(string(all[i : i+1]))
		print(string(rune(i)))
	}
	for i := range string(all) {
		print(string(all)[i : i+1])
	}
}

// Only the token of Fork forks: whatever else a program prints is printed, once,
// by the process that printed it.
func TestPrintDoesNotFork(t *testing.T) {
	var stderr strings.Builder
	cmd := forktest.Command(t, "printEveryByte")
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range 256 {
		want.WriteByte(byte(i))
		want.WriteRune(rune(i))
	}
	for i := range 256 {
		want.WriteByte(byte(i))
	}
	if diff := cmp.Diff(want.String(), stderr.String()); diff != "" {
		t.Errorf("stderr (-want +got):\n%s", diff)
	}
}
