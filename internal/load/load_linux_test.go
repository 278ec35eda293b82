package load_test

import (
	"testing"

	"rawfork/internal/forktest"
	"rawfork/internal/load"
)

// TestMain fails on descriptors that a stopped load left open.
func TestMain(m *testing.M) { forktest.Main(m, nil) }

func TestLoadsStartAndStop(t *testing.T) {
	for _, l := range load.All() {
		t.Run(l.Name, func(t *testing.T) {
			for range 3 {
				stop, err := l.Start()
				if err != nil {
					t.Fatal(err)
				}
				stop()
				stop() // a second stop does nothing
			}
		})
	}
}
