package reap_test

import (
	"testing"

	"rawfork/internal/forktest"
)

func TestMain(m *testing.M) { forktest.Main(m, helpers) }
