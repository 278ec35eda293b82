package compare

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"rawfork/internal/text"
)

// WriteText writes the report for a person: for each experiment the answer and a
// table of the first measure, or of all that it is about.
func (r *Report) WriteText(w io.Writer, style text.Style, all bool) error {
	var b strings.Builder
	for i := range r.Results {
		result := &r.Results[i]
		fmt.Fprintf(&b, "%s\n", style.Bold(result.Experiment+": "+result.Question))
		writeLines(&b, style.Wrap(result.Answer, "  "))
		names := result.experiment.Measures
		if !all {
			names = names[:1]
		}
		for _, name := range names {
			result.writeTable(&b, style, measure(name))
		}
		for _, v := range result.Expected {
			mark, word := style.Good, "as expected: "
			if !v.Holds {
				mark, word = style.Bad, "NOT as expected: "
			}
			for _, line := range style.Wrap(word+v.Claim+" ("+v.Measured+")", "  ") {
				b.WriteString(mark(line) + "\n")
			}
		}
		for _, note := range result.Notes {
			writeLines(&b, style.Wrap("note: "+note, "  "))
		}
		b.WriteByte('\n')
	}
	writeLines(&b, r.footer(style))
	_, err := io.WriteString(w, b.String())
	return err
}

func writeLines(b *strings.Builder, lines []string) {
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
}

// footer says what the figures depend on and whether to trust them.
func (r *Report) footer(style text.Style) []string {
	lines := style.Wrap("Medians; × is the median of the ratios to the reference, turn by turn; ~ marks a median whose 95% confidence interval reaches further than a tenth.", "")
	lines = append(lines, r.Machine.Lines()...)
	lines = append(lines, "load at end:   "+r.LoadAtEnd,
		fmt.Sprintf("other work:    %.0f%% of the processors", 100*r.Others), fmt.Sprintf("took:          %.0f s", r.Seconds))
	if r.Stopped != "" {
		lines = append(lines, style.Wrap("Stopped before all was measured: "+r.Stopped+".", "")...)
	}
	if len(r.Noise) > 0 {
		for _, line := range style.Wrap("NOISY, don't rely on these figures: "+strings.Join(r.Noise, "; ")+".", "") {
			lines = append(lines, style.Bad(line))
		}
	}
	return lines
}

// writeTable has a row for each series and a column for each x.
func (r *Result) writeTable(b *strings.Builder, style text.Style, m Measure) {
	header, rows := r.table(m)
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(row []string) string {
		var text strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				text.WriteString("  " + cell + pad)
			} else {
				text.WriteString("  " + pad + cell)
			}
		}
		return text.String()
	}
	fmt.Fprintf(b, "\n  %s, by %s\n%s\n", m.Text, r.experiment.Axis.Text, style.Faint(line(header)))
	for _, row := range rows {
		b.WriteString(line(row) + "\n")
	}
	b.WriteByte('\n')
}

// table is a measure as text: the header has the values of x.
func (r *Result) table(m Measure) (header []string, rows [][]string) {
	header = []string{""}
	for _, x := range r.xs() {
		header = append(header, r.x(x))
	}
	for _, s := range r.series() {
		row, some := []string{s.String()}, false
		for _, x := range r.xs() {
			cell := "-"
			if f, ok := r.at(s, m.Name, x); ok {
				cell, some = f.cell(m), true
			}
			row = append(row, cell)
		}
		if some {
			rows = append(rows, row)
		}
	}
	return header, rows
}

// cell is a figure as "12.3 ms 1.02×".
func (f Figure) cell(m Measure) string {
	cell := m.format(f.Median)
	if f.uncertain() {
		cell = "~" + cell
	}
	if f.Ratio != nil {
		cell += fmt.Sprintf(" %6s", ratio(f.Ratio.Median))
	} else {
		cell += "       "
	}
	return cell
}
