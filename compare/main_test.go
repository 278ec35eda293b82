package compare

import (
	"testing"

	"rawfork/internal/forktest"
)

func TestMain(m *testing.M) {
	Init()
	forktest.Main(m, nil)
}
