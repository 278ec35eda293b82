package rawfork_test

import (
	"cmp"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
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
		if diff := gocmp.Diff([]string{}, foreign); diff != "" {
			t.Errorf("imported by %v, or by what they import (-want +got):\n%s", c.packages, diff)
		}
	}
}

// ARCHITECTURE.md says of each room what of ours it imports: no more and no less.
func TestRooms(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (?:`([a-z/]+)/`|root package) \\|.*\\| (.*) \\|$").FindAllStringSubmatch(string(text), -1) {
		if row[2] != "everything below" {
			want[path.Join("rawfork", row[1])] = row[2]
		}
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		room, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, documented := want[room]; documented || strings.HasPrefix(room, "rawfork/internal/") {
			got[room] = ours(room, strings.Fields(imports))
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("rooms and what they import (-ARCHITECTURE.md +go list):\n%s", diff)
	}
}

// ours puts the module's packages into the words of ARCHITECTURE.md: the root package
// first, internal ones last, and without the room's own parts.
func ours(room string, imports []string) string {
	var list []string
	for _, p := range imports {
		switch {
		case p == "rawfork":
			list = append(list, "root")
		case strings.HasPrefix(p, "rawfork/") && (room == "rawfork" || !strings.HasPrefix(p, room+"/")):
			list = append(list, strings.TrimPrefix(p, "rawfork/"))
		}
	}
	rank := func(p string) int {
		switch {
		case p == "root":
			return 0
		case strings.HasPrefix(p, "internal/"):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
	if list == nil {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// Linknames stand in one file, C in files of its own.
func TestHooksStandInOneFile(t *testing.T) {
	out, err := exec.Command("grep", "-rln", "--include=*.go", "^//go:linkname", ".").Output()
	if err != nil {
		t.Fatalf("grep: %v", err)
	}
	if diff := gocmp.Diff("./hooks_unsafe.go\n", string(out)); diff != "" {
		t.Errorf("files with a linkname (-want +got):\n%s", diff)
	}
}
