package compare

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed report.html
var reportHTML string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"join":    strings.Join,
	"charts":  (*Result).charts,
	"differs": func(s Side, field string) bool { return slices.Contains(s.Differs, field) },
	"methods": Methods,
	"percent": func(share float64) string { return fmt.Sprintf("%.0f%%", 100*share) },
}).Parse(reportHTML))

// WriteHTML writes the report as one page that needs nothing else: charts, tables, what
// the processes are, the machine.
func (r *Report) WriteHTML(w io.Writer) error {
	view := struct {
		*Report
		Results []*Result
	}{Report: r}
	for i := range r.Results {
		view.Results = append(view.Results, &r.Results[i])
	}
	return page.Execute(w, view)
}

// WriteSVG writes the chart of the first measure of the experiment heap, or of the
// first experiment where heap was not measured, with a legend and with the names that
// a file of its own needs.
func (r *Report) WriteSVG(w io.Writer) error {
	i := slices.IndexFunc(r.Results, func(result Result) bool { return len(result.Points) > 0 }) // heap is the first one
	if i < 0 {
		return nil
	}
	result := &r.Results[i]
	svg, err := result.svg(measure(result.experiment.Measures[0]), picture, true)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, svg)
	return err
}

// A chart is a measure of an experiment on the page.
type chart struct {
	Title, Axis  string
	Reference    string
	Lines        []legendLine
	Wide, Narrow template.HTML
	Header       []string
	Rows         [][]string
}

type legendLine struct {
	Name, Dashes string
	Colour       string
}

// charts draws the measures that the experiment is about.
func (r *Result) charts() ([]chart, error) {
	var all []chart
	for _, name := range r.experiment.Measures {
		m := measure(name)
		wide, err := r.svg(m, desktop, false)
		if err != nil {
			return nil, err
		}
		narrow, err := r.svg(m, telephone, false)
		if err != nil {
			return nil, err
		}
		if wide == "" {
			continue
		}
		c := chart{Title: m.Text, Axis: r.experiment.Axis.Text, Reference: r.Reference.String(),
			Wide: template.HTML(wide), Narrow: template.HTML(narrow)} // made here, of numbers and names of the table
		c.Header, c.Rows = r.table(m)
		for _, s := range r.series() {
			if len(r.line(s, m, 1).XYs) == 0 {
				continue
			}
			var dash []string
			for _, d := range dashes(s) {
				dash = append(dash, fmt.Sprintf("%.0f", d))
			}
			c.Lines = append(c.Lines, legendLine{Name: s.String(), Dashes: strings.Join(dash, " "), Colour: fmt.Sprintf("#%06x", method(s.Method).RGB)})
		}
		all = append(all, c)
	}
	return all, nil
}
