package compare

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A chart is well-formed, has the labels of both axes and a line for each series.
func TestChart(t *testing.T) {
	report := table(t)
	r := report.result("heap")
	for _, size := range []shape{desktop, telephone} {
		svg, err := r.svg(measure("wait"), size, size == desktop)
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, svg)
		for _, want := range []string{">16 MB<", ">256 MB<", ">1 GB<", ">2 ms<", ">20 ms<", ">resident memory of the caller<", "Arial"} {
			if !strings.Contains(svg, want) {
				t.Errorf("%v: no %s in the chart", size, want)
			}
		}
		if has := strings.Contains(svg, ">vfork<"); has != (size == desktop) {
			t.Errorf("%v: a legend: %v", size, has)
		}
	}
	if svg, err := r.svg(measure("tables"), desktop, false); svg != "" || err != nil {
		t.Errorf("a chart of what was not measured: %q, %v", svg, err)
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
}

// A count of 0 has a place on a logarithmic axis, and is not left out.
func TestChartOfZero(t *testing.T) {
	report := table(t)
	r := report.result("fork")
	for i := range r.Points {
		r.Points[i].Measured["write-faults"] = Figure{Interval: Interval{float64(i % 2 * 40), 0, 40}}
	}
	svg, err := r.svg(measure("write-faults"), desktop, false)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, svg)
	for _, want := range []string{">0<", ">50<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no label %s", want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		measure   string
		low, high float64
		want      string
	}{
		{"wait", 1.9e6, 21e6, "1 ms|2 ms|5 ms|10 ms|20 ms|50 ms"},
		{"wait", 2e6, 20e6, "2 ms|5 ms|10 ms|20 ms"},
		{"wait", 3e4, 5e8, "10 µs|100 µs|1 ms|10 ms|100 ms|1 s"},
		{"wait", 2e6, 2e6, "2 ms|5 ms"},
		{"write-faults", 0, 1034, "0|1|10|100|1000|10000"},
		{"tables", 24 << 10, 656 << 10, "16 kB|64 kB|256 kB|1 MB"},
		{"shared", 0, 300 << 20, "0|4 kB|64 kB|1 MB|16 MB|256 MB|4 GB"},
	} {
		zero := 1.0 / 3
		if test.measure == "shared" {
			zero = 2048. / 3
		}
		var labels []string
		for _, tick := range logTicks(measure(test.measure), test.low, test.high, zero) {
			labels = append(labels, tick.Label)
		}
		if diff := cmp.Diff(test.want, strings.Join(labels, "|")); diff != "" {
			t.Errorf("%s, %v to %v (-want +got):\n%s", test.measure, test.low, test.high, diff)
		}
	}
}

// The page has all that was measured, and asks nobody for anything.
func TestPage(t *testing.T) {
	report := table(t)
	report.Noise = []string{"a <load>"}
	report.Semantics = semantics([]Side{{Method: "syscall", Values: map[string]string{"Parent": "the caller", "Nice": "0"}},
		{Method: "helper", Values: map[string]string{"Parent": "another", "Nice": "0"}, Differs: []string{"Parent"}}})
	var out strings.Builder
	if err := report.WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for _, want := range []string{`<section id="heap">`, `<section id="fork">`, "a &lt;load&gt;", `<td class="differs">another</td>`, ">the caller<",
		"from 16 MB to 1 GB: syscall 2.00 ms to 2.00 ms", `stroke="#e07b00"`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in the page", want)
		}
	}
	if n := strings.Count(page, "<svg"); n < 2*4 {
		t.Errorf("%d pictures", n)
	}
	for _, foreign := range []string{"src=", "href=\"http", "@import", "url("} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page asks for something: %s", foreign)
		}
	}
	if strings.Contains(page, "Nice") {
		t.Error("a field that is the same everywhere is shown")
	}
}
