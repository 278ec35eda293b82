package probe_test

import (
	"slices"
	"testing"

	"rawfork/internal/purity"
)

// The child's loop, followed through every call in the machine code, does nothing
// that a child may not do. Of the builds these are the ones that differ most.
func TestPure(t *testing.T) {
	const loop = "rawfork/probe.serve"
	builds := []string{"default", "race and unoptimised", "arm64"}
	for _, b := range purity.Builds {
		if !slices.Contains(builds, b.Name) {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			program := purity.Read(t, "package main\n\nimport \"rawfork/probe\"\n\nfunc main() { probe.Fork() }\n", b)
			found := program.Follow(loop)
			for _, fault := range found.Faults {
				t.Error(fault)
			}
			if !found.Kernel {
				t.Errorf("no system call found in %v: the test is blind", found.Functions)
			}
			slices.Sort(found.Functions)
			t.Logf("reached: %v", found.Functions)
		})
	}
}
