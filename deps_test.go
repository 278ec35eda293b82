package rawfork_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The library stands on the standard library and golang.org/x/sys; what reads and
// compares the state of processes on two modules more. What else the module needs
// is for the command, the examples, the figures and the tests.
func TestDependencies(t *testing.T) {
	for _, c := range []struct {
		packages []string
		modules  []string
	}{
		{[]string{".", "./child", "./forkall", "./helper", "./lock", "./reap", "./serve"}, []string{"golang.org/x/sys"}},
		{[]string{"./procstate", "./probe", "./probe/probetest"},
			[]string{"golang.org/x/sys", "github.com/google/go-cmp", "github.com/prometheus/procfs"}},
	} {
		args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, c.packages...)
		out, err := exec.Command("go", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, out)
		}
		foreign := slices.DeleteFunc(strings.Fields(string(out)), func(module string) bool {
			return module == "rawfork" || slices.Contains(c.modules, module)
		})
		if diff := cmp.Diff([]string{}, foreign); diff != "" {
			t.Errorf("imported by %v, or by what they import (-want +got):\n%s", c.packages, diff)
		}
	}
}

// Linknames stand in one file, C in files of its own.
func TestHooksStandInOneFile(t *testing.T) {
	out, err := exec.Command("grep", "-rln", "--include=*.go", "^//go:linkname", ".").Output()
	if err != nil {
		t.Fatalf("grep: %v", err)
	}
	if diff := cmp.Diff("./hooks_unsafe.go\n", string(out)); diff != "" {
		t.Errorf("files with a linkname (-want +got):\n%s", diff)
	}
}
