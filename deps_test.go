package rawfork_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The library stands on the standard library and golang.org/x/sys. What else the
// module needs is for the command, the examples, the figures and the tests.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}",
		".", "./child", "./helper", "./probe").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	var foreign []string
	for _, path := range strings.Fields(string(out)) {
		if path != "rawfork" && !strings.HasPrefix(path, "rawfork/") && !strings.HasPrefix(path, "golang.org/x/sys/") {
			foreign = append(foreign, path)
		}
	}
	if diff := cmp.Diff([]string(nil), foreign); diff != "" {
		t.Errorf("imported by the library, or by what it imports (-want +got):\n%s", diff)
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
