package compare

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
)

// A document has blocks between marks, which are filled from a report:
//
//	<!-- compare: heap -->
//	...
//	<!-- /compare -->
//
// A block is named by an experiment: it gets the answer, the verdicts and the table of
// the first measure, or of a measure that is named behind a slash (heap/child-faults).
// A third name, of a method (heap/wait/fork), is for a cell of a table, between marks on one
// line: it gets the method's first and last figure. The block machine gets what the
// figures were measured on, the block semantics what the processes are.
var blocks = regexp.MustCompile(`(?s)(<!-- compare: ([a-z/-]+) -->\n?).*?(<!-- /compare -->)`)

// parts are the names in a block's: experiment, measure and method, or "".
func parts(block string) (experiment, measure, method string) {
	experiment, measure, _ = strings.Cut(block, "/")
	measure, method, _ = strings.Cut(measure, "/")
	return experiment, measure, method
}

// Documents are files whose blocks are to be filled.
type Documents struct{ files []*document }

type document struct {
	name, text string
}

// OpenDocuments makes sure, before anything is measured, that the files can be read and
// written and that their blocks are known.
func OpenDocuments(names []string) (*Documents, error) {
	d := &Documents{}
	for _, name := range names {
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("document: %w", err)
		}
		file.Close()
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("document: %w", err)
		}
		doc := &document{name, string(text)}
		if err := doc.check(); err != nil {
			return nil, fmt.Errorf("document: %s: %w", name, err)
		}
		d.files = append(d.files, doc)
	}
	return d, nil
}

func (d *document) check() error {
	found := blocks.FindAllStringSubmatch(d.text, -1)
	if len(found) == 0 || len(found) != strings.Count(d.text, "<!-- compare: ") {
		return fmt.Errorf("no block between <!-- compare: NAME --> and <!-- /compare -->: %w", syscall.EINVAL)
	}
	for _, block := range found {
		experiment, name, by := parts(block[2])
		if block[2] == "machine" {
			continue
		}
		if by != "" {
			if err := CheckMethods([]string{by}); err != nil {
				return err
			}
		}
		if _, err := Find([]string{experiment}); err != nil {
			return err
		}
		if name != "" && place(name) < 0 {
			return fmt.Errorf("no measure %q", name)
		}
	}
	return nil
}

// Write fills the blocks whose experiments have been measured. The others stay as they
// are.
func (d *Documents) Write(r *Report) error {
	var errs []error
	for _, doc := range d.files {
		text := blocks.ReplaceAllStringFunc(doc.text, func(block string) string {
			found := blocks.FindStringSubmatch(block)
			if fill := r.markdown(found[2]); fill != "" {
				return found[1] + fill + found[3]
			}
			return block
		})
		if text != doc.text {
			errs = append(errs, os.WriteFile(doc.name, []byte(text), 0o644))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("document: %w", err)
	}
	return nil
}

// markdown is the text of a block, "" where nothing was measured for it.
func (r *Report) markdown(name string) string {
	var b strings.Builder
	switch {
	case name == SemanticsName && r.Semantics != nil:
		header, rows := r.Semantics.table(func(cell string) string { return "**" + cell + "**" })
		writeMarkdown(&b, header, rows)
		return b.String()
	case name == "machine" && !r.measured(): // it says what the figures were measured on
		return ""
	case name == "machine":
		fmt.Fprintf(&b, "Measured %s on %s × %d, Linux %s, %s, huge pages %s, load %s at the start.",
			r.Machine.Date, r.Machine.Processor, r.Machine.Processors, r.Machine.Kernel, r.Machine.Go, r.Machine.HugePages, r.Machine.Load)
		if len(r.Noise) > 0 {
			fmt.Fprintf(&b, " **Noisy**: %s.", strings.Join(r.Noise, "; "))
		}
		b.WriteString("\n")
		return b.String()
	}
	experiment, measureName, by := parts(name)
	result := r.result(experiment)
	if result == nil || len(result.Points) == 0 {
		return ""
	}
	if measureName == "" {
		measureName = result.experiment.Measures[0]
		fmt.Fprintf(&b, "%s\n\n", result.Answer)
		for _, v := range result.Expected {
			fmt.Fprintf(&b, "- **%s**: %s (%s)\n", v, v.Claim, v.Measured)
		}
		if len(result.Expected) > 0 {
			b.WriteString("\n")
		}
	}
	m := measure(measureName)
	header, rows := result.table(m)
	if by != "" {
		return firstAndLast(header, rows, by)
	}
	header[0] = m.Text
	writeMarkdown(&b, header, rows)
	for _, note := range result.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", note)
	}
	return b.String()
}

// firstAndLast is a method's row of a table as the text of one cell, "" without the row.
func firstAndLast(header []string, rows [][]string, method string) string {
	for _, row := range rows {
		if row[0] != method {
			continue
		}
		at := func(i int) string { return strings.Join(strings.Fields(row[i]), " ") + " at " + header[i] }
		if last := len(row) - 1; last > 1 {
			return at(1) + ", " + at(last)
		}
		return at(1)
	}
	return ""
}

func writeMarkdown(b *strings.Builder, header []string, rows [][]string) {
	fmt.Fprintf(b, "| %s |\n|---|%s\n", strings.Join(header, " | "), strings.Repeat("---:|", len(header)-1))
	for _, row := range rows {
		for i := range row {
			row[i] = strings.Join(strings.Fields(row[i]), " ")
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}
