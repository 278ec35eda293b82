package compare

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDocuments(t *testing.T) {
	name := file(t, `before
<!-- compare: fork/wait -->
old
<!-- /compare -->
between
<!-- compare: ready -->
not measured
<!-- /compare -->
| fork | <!-- compare: fork/wait/fork-only -->old<!-- /compare --> | <!-- compare: fork/wait/none -->not there<!-- /compare --> |
after
`)
	documents, err := OpenDocuments([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	report := table(t)
	for range 2 { // the marks stay, so that it can be filled again
		if err := documents.Write(report); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want := `before
<!-- compare: fork/wait -->
| start until the process is waited for | 16 MB | 256 MB | 1 GB |
|---|---:|---:|---:|
| fork-only | 10.0 ms 1.01× | 10.0 ms 1.01× | 10.0 ms 1.01× |
| cfork-only | 9.90 ms | 9.90 ms | 9.90 ms |
| cvfork-only | 100 µs 0.01× | 100 µs 0.01× | 100 µs 0.01× |
<!-- /compare -->
between
<!-- compare: ready -->
not measured
<!-- /compare -->
| fork | <!-- compare: fork/wait/fork-only -->10.0 ms 1.01× at 16 MB, 10.0 ms 1.01× at 1 GB<!-- /compare --> | <!-- compare: fork/wait/none -->not there<!-- /compare --> |
after
`
		if diff := cmp.Diff(want, string(text)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if documents, err = OpenDocuments([]string{name}); err != nil {
			t.Fatal(err)
		}
	}
	text := report.markdown("heap")
	for _, want := range []string{"from 16 MB to 1 GB", "- **as expected**: vfork", "- **NOT as expected**"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestDocumentsThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		text, want string
	}{
		{"no block", "no block between"},
		{"<!-- compare: heap -->\nno end", "no block between"},
		{"<!-- compare: heep -->\n<!-- /compare -->", `no experiment "heep"; there are heap,`},
		{"<!-- compare: heap/wait/x --><!-- /compare -->", `no method "x"; there are syscall,`},
		{"<!-- compare: heap/x -->\n<!-- /compare -->", `no measure "x"`},
	} {
		_, err := OpenDocuments([]string{file(t, test.text)})
		if !strings.Contains(errorText(err), test.want) {
			t.Errorf("%q: error %v, want %q", test.text, err, test.want)
		}
	}
	if _, err := OpenDocuments([]string{"/nowhere/doc.md"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := OpenDocuments([]string{t.TempDir()}); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("error %v", err)
	}
}

// The project's own documents can be filled, and explain every experiment.
func TestOwnDocuments(t *testing.T) {
	documents, err := OpenDocuments([]string{"../README.md", "../docs/why.md"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range Experiments() {
		if !strings.Contains(documents.files[1].text, "<!-- compare: "+e.Name+" -->") {
			t.Errorf("docs/why.md has no figures of the experiment %s", e.Name)
		}
	}
}
