package compare

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// An Output is a directory that a report is written to: compare.txt, with all tables,
// compare.bench, with each turn in the Go benchmark format, compare.html, the page with
// the charts, and compare.svg, the most important of them.
type Output struct {
	dir    string
	drafts map[string]*os.File // by name; each is renamed when it is written
}

// outputs are the files of an Output.
var outputs = []struct {
	name    string
	figures bool // it has nothing but figures
	write   func(*Report, io.Writer) error
}{
	{"compare.txt", false, func(r *Report, w io.Writer) error { return r.WriteText(w, TextOptions{Width: 100, All: true}) }},
	{"compare.bench", true, (*Report).WriteBenchmark},
	{"compare.html", false, (*Report).WriteHTML},
	{"compare.svg", true, (*Report).WriteSVG},
}

// OpenOutput makes sure, before anything is measured, that a report can be written
// to dir, which it makes if it isn't there. Nothing that is there is changed before
// Write; the caller calls Close in any case.
func OpenOutput(dir string) (*Output, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	o := &Output{dir: dir, drafts: map[string]*os.File{}}
	for _, file := range outputs {
		path := filepath.Join(dir, file.name)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			o.Close()
			return nil, fmt.Errorf("output: %s: %w", path, syscall.EISDIR)
		}
		draft, err := os.CreateTemp(dir, "."+file.name+"-")
		if err != nil {
			o.Close()
			return nil, fmt.Errorf("output: %w", err)
		}
		o.drafts[file.name] = draft
	}
	return o, nil
}

// Write writes the report and puts it in place of what was there. What there is nothing
// for, as when the run was ended before its first figure, stays as it was.
func (o *Output) Write(r *Report) error {
	for _, file := range outputs {
		if !r.measured() && (file.figures || r.Semantics == nil) {
			continue
		}
		draft := o.drafts[file.name]
		if err := file.write(r, draft); err != nil {
			return fmt.Errorf("output: %s: %w", file.name, err)
		}
		if err := draft.Chmod(0o644); err != nil {
			return fmt.Errorf("output: %w", err)
		}
		if err := os.Rename(draft.Name(), filepath.Join(o.dir, file.name)); err != nil {
			return fmt.Errorf("output: %w", err)
		}
	}
	return nil
}

// Close removes what Write has not put in place.
func (o *Output) Close() {
	for _, draft := range o.drafts {
		draft.Close()
		os.Remove(draft.Name())
	}
}
