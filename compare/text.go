package compare

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"rawfork/internal/text"
)

// TextOptions say how a report is set as text. The zero value is plain, of lines as
// long as they come, with the most important table of each experiment.
type TextOptions struct {
	Width  int  // columns of a line; 0: no limit
	Colour bool // by the escape sequences of terminals
	All    bool // a table for each of the experiment's measures, not for the first one alone
}

// WriteText writes the report for a person: for each experiment the answer, its
// tables, and whether it is as expected.
func (r *Report) WriteText(w io.Writer, options TextOptions) error {
	style := text.Style{Width: options.Width, Colour: options.Colour}
	var b strings.Builder
	for i := range r.Results {
		result := &r.Results[i]
		for _, line := range style.Wrap(result.Experiment+": "+result.Question, "") {
			b.WriteString(style.Bold(line) + "\n")
		}
		writeLines(&b, style.Wrap(result.Answer, "  "))
		names, others := result.experiment.Measures, []string(nil)
		if !options.All {
			names, others = names[:1], names[1:]
		}
		for _, name := range names {
			result.writeTable(&b, style, measure(name))
		}
		if len(others) > 0 && len(result.Points) > 0 {
			b.WriteByte('\n')
			writeLines(&b, style.Wrap("also measured: "+strings.Join(others, ", "), "  "))
		}
		if len(result.Expected)+len(result.Notes) > 0 {
			b.WriteByte('\n')
		}
		for _, v := range result.Expected {
			mark := style.Bad
			switch {
			case !v.Settled:
				mark = func(text string) string { return text }
			case v.Holds:
				mark = style.Good
			}
			for _, line := range style.Wrap(fmt.Sprintf("%s: %s (%s)", v, v.Claim, v.Measured), "  ") {
				b.WriteString(mark(line) + "\n")
			}
		}
		for _, note := range result.Notes {
			writeLines(&b, style.Wrap("note: "+note, "  "))
		}
		b.WriteByte('\n')
	}
	if r.Semantics != nil {
		r.Semantics.write(&b, style)
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
	var lines []string
	if len(r.Results) > 0 {
		lines = style.Wrap("Medians; × is the median of the ratios to the reference, turn by turn; ~ marks a median whose 95% confidence interval reaches further than a tenth, or that has none.", "")
	}
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
	b.WriteByte('\n')
	writeLines(b, style.Wrap(m.Text+", by "+r.experiment.Axis.Text, "  "))
	writeColumns(b, style, header, rows)
}

// write writes what the processes are.
func (s *Semantics) write(b *strings.Builder, style text.Style) {
	for _, line := range style.Wrap(SemanticsName+": "+SemanticsQuestion, "") {
		b.WriteString(style.Bold(line) + "\n")
	}
	writeLines(b, style.Wrap("The caller ignores one signal, blocks another, and has one descriptor ("+fmt.Sprint(leakedFD)+
		") that isn't close-on-exec; it gives the process descriptors 0 to 4, a Go child two files. * marks what isn't as after syscall.ForkExec.", "  "))
	b.WriteByte('\n')
	header, rows := s.table(func(cell string) string { return cell + " *" })
	writeColumns(b, style, header, rows)
	b.WriteByte('\n')
}

// writeColumns writes a table, and goes on below itself where the lines would be too long.
func writeColumns(b *strings.Builder, style text.Style, header []string, rows [][]string) {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for from := 1; from < len(header); {
		if from > 1 {
			b.WriteByte('\n')
		}
		to := fitting(widths, from, style.Width)
		b.WriteString(style.Faint(tableLine(header, widths, from, to)) + "\n")
		for _, row := range rows {
			b.WriteString(tableLine(row, widths, from, to) + "\n")
		}
		from = to
	}
}

// fitting is the column after the last one that fits, with the first one and those
// from from on, in a line. One fits always.
func fitting(widths []int, from, width int) (to int) {
	used := 2 + widths[0]
	for to = from; to < len(widths); to++ {
		if used += 2 + widths[to]; width > 0 && used > width && to > from {
			break
		}
	}
	return to
}

// tableLine is a row with its first cell and those in [from, to).
func tableLine(row []string, widths []int, from, to int) string {
	var line strings.Builder
	pad := func(i int) string { return strings.Repeat(" ", widths[i]-utf8.RuneCountInString(row[i])) }
	line.WriteString("  " + row[0] + pad(0))
	for i := from; i < to; i++ {
		line.WriteString("  " + pad(i) + row[i])
	}
	return strings.TrimRight(line.String(), " ")
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
