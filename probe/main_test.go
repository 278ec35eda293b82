//go:build linux && cgo && (amd64 || arm64)

package probe_test

import (
	"testing"

	"rawfork/internal/forktest"
)

func TestMain(m *testing.M) {
	forktest.Main(m, map[string]func(){"parentOfProbes": parentOfProbes})
}
