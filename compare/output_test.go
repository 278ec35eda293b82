package compare

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOutput(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	var want []string
	for _, file := range outputs {
		want = append(want, file.name)
	}
	slices.Sort(want)

	given, err := OpenOutput(dir)
	if err != nil {
		t.Fatal(err)
	}
	given.Close() // nothing was measured
	if diff := cmp.Diff([]string(nil), names(t, dir)); diff != "" {
		t.Errorf("left by an output that was not written (-want +got):\n%s", diff)
	}

	output, err := OpenOutput(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	if err := output.Write(table(t)); err != nil {
		t.Fatal(err)
	}
	output.Close()
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, name := range want {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// A run that was ended before its first figure takes nothing away.
func TestOutputOfNothing(t *testing.T) {
	for _, test := range []struct {
		report *Report
		want   []string
	}{
		{&Report{}, nil},
		{&Report{Semantics: semantics([]Side{{Method: "syscall"}})}, []string{"compare.html", "compare.txt"}},
	} {
		dir := t.TempDir()
		output, err := OpenOutput(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := output.Write(test.report); err != nil {
			t.Error(err)
		}
		output.Close()
		if diff := cmp.Diff(test.want, names(t, dir)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What can't be written is found before anything is measured.
func TestOutputThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := t.TempDir()
	if err := os.Mkdir(filepath.Join(taken, "compare.txt"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		dir  string
		want error
	}{
		{file, syscall.ENOTDIR},
		{filepath.Join(file, "below"), syscall.ENOTDIR},
		{"/proc/nowhere", fs.ErrNotExist},
		{taken, syscall.EISDIR},
	} {
		if output, err := OpenOutput(test.dir); !errors.Is(err, test.want) {
			output.Close()
			t.Errorf("%s: error %v, want %v", test.dir, err, test.want)
		}
	}
	if diff := cmp.Diff([]string{"compare.txt"}, names(t, taken)); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
}
