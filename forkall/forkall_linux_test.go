//go:build linux && cgo && amd64

package forkall_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rawfork/internal/forktest"
)

func TestMain(m *testing.M) {
	forktest.Main(m, map[string]func(){"parent": forkParent, "contract": playContract})
}

// forksEnv asks for the long form: make soak-forkall.
const forksEnv = "RAWFORK_SOAK_FORKS"

// In every child Go works, and every goroutine of the parent's goes on; the parent
// goes on too.
func TestScenarios(t *testing.T) {
	t.Parallel()
	forks := 300
	if testing.Short() {
		forks = 60
	}
	if text := os.Getenv(forksEnv); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		forks = n
	}
	shares := 0
	for _, s := range scenarios {
		shares += s.share
	}
	var mu sync.Mutex
	var sum counts
	t.Cleanup(func() { t.Logf("%d children ok, %d tries more", sum.OK, sum.Retries) })
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			n := (forks*s.share + shares - 1) / shares
			got := runParent(t, s.name, n)
			if diff := cmp.Diff(counts{OK: n}, got, cmpopts.IgnoreFields(counts{}, "Retries")); diff != "" {
				t.Errorf("children (-want +got):\n%s\nthe first that failed: %s", diff, got.First) // cmp cuts it short
			}
			mu.Lock()
			defer mu.Unlock()
			sum.OK += got.OK
			sum.Retries += got.Retries
		})
	}
}

// runParent has a process of its own fork, and returns how the children ended.
func runParent(t *testing.T, scenario string, forks int) counts {
	t.Helper()
	cmd := forktest.Command(t, "parent", scenario, strconv.Itoa(forks))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if text := stderr.Bytes(); len(text) > 0 {
		t.Logf("stderr:\n%s", text[:min(len(text), 40000)])
	}
	if err != nil {
		t.Fatalf("parent: %v", err)
	}
	var c counts
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatalf("parent said %q: %v", out, err)
	}
	return c
}
