package compare

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/perf/benchfmt"
)

// table is a report with figures that are made up, for what is made of figures.
func table(t *testing.T) *Report {
	t.Helper()
	return tableOf(t, 7)
}

// tableOf is table with so many turns.
func tableOf(t *testing.T, n int) *Report {
	t.Helper()
	var turns []string
	var closed int
	heap, err := Find([]string{"heap", "fork"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range heap {
		heap[i].Measures, heap[i].Quick = []string{"wait", "return"}, []float64{16 * mB, 256 * mB, gB}
	}
	values := map[string]float64{"syscall": 2e6, "osexec": 3e6, "fork": 20e6, "vfork": 1.9e6, "spawn": 2.1e6, "helper": 2e6,
		"cfork": 19e6, "cvfork": 1.5e6, "fork-only": 10e6, "cfork-only": 9.9e6, "cvfork-only": 1e5}
	report, err := fakeRun(t.Context(), Options{Quick: true, Turns: n}, 2*gB, heap,
		fakeBench{turns: &turns, closed: &closed, value: func(method string, _ int) float64 { return values[method] }})
	if err != nil {
		t.Fatal(err)
	}
	report.Machine.Load = "0.10 0.10 0.10"
	report.Noise = nil
	return report
}

func TestText(t *testing.T) {
	report := table(t)
	var out bytes.Buffer
	if err := report.WriteText(&out, TextOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"heap: What does it cost to start a program",
		"  syscall  2.00 ms         2.00 ms         2.00 ms",
		"  fork     20.0 ms  10.0×  20.0 ms  10.0×  20.0 ms  10.0×",
		"  as expected: vfork is no slower",
		"  NOT as expected: spawn is no slower",
		"  fork-only    10.0 ms  1.01×  10.0 ms  1.01×  10.0 ms  1.01×",
		"1.01× [1.01, 1.01] at 256 MB",
		"also measured: return",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "NOISY") || strings.Contains(out.String(), "keeps its caller, by") {
		t.Errorf("noise of a quiet run, or a measure that was not asked for:\n%s", out.String())
	}
	report.Noise, report.Stopped = []string{"the load was high"}, "interrupt"
	out.Reset()
	if err := report.WriteText(&out, TextOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOISY, don't rely on these figures: the load was high.", "Stopped before all was measured: interrupt.", "how long the call keeps its caller"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// On a narrow terminal a table goes on below itself: no line is too long, and no
// figure is lost.
func TestTextNarrow(t *testing.T) {
	report := table(t)
	for _, width := range []int{30, 40, 60, 100} {
		var out bytes.Buffer
		if err := report.WriteText(&out, TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width && width >= 40 {
				t.Errorf("%d columns in a width of %d: %q", n, width, line)
			}
		}
		if got := strings.Count(out.String(), "20.0 ms  10.0×"); got != 3 { // of fork, at each x
			t.Errorf("width %d: fork has %d figures, want 3:\n%s", width, got, out.String())
		}
	}
}

// What benchstat reads is what was measured.
func TestBenchmarkFormat(t *testing.T) {
	report := table(t)
	var out bytes.Buffer
	if err := report.WriteBenchmark(&out); err != nil {
		t.Fatal(err)
	}
	got := map[string][]float64{}
	reader := benchfmt.NewReader(&out, "compare.bench")
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.Result:
			wait, ok := record.Value("sec/op") // benchfmt's own unit for ns/op
			if !ok {
				t.Fatalf("%s has no ns/op", record.Name)
			}
			got[record.Name.String()] = append(got[record.Name.String()], wait)
			if pkg := record.GetConfig("pkg"); pkg != "rawfork/compare" {
				t.Errorf("pkg %q", pkg)
			}
		case *benchfmt.SyntaxError:
			t.Errorf("%v", record)
		}
	}
	if err := reader.Err(); err != nil {
		t.Fatal(err)
	}
	if want := 3*8 + 3*3; len(got) != want { // three values of x
		t.Errorf("%d benchmarks, want %d", len(got), want)
	}
	want := []float64{.02, .02, .02, .02, .02, .02, .02}
	if diff := cmp.Diff(want, got["Heap/x=256MB/method=fork"]); diff != "" {
		t.Errorf("Heap/x=256MB/method=fork (-want +got):\n%s", diff)
	}
}

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		measure string
		value   float64
		want    string
	}{
		{"wait", 0, "0 ns"}, {"wait", 950, "950 ns"}, {"wait", 1234, "1.23 µs"}, {"wait", 12.3e6, "12.3 ms"}, {"wait", 2.5e9, "2.50 s"},
		{"tables", 512, "512 B"}, {"tables", 24 << 10, "24.0 kB"}, {"tables", 3 << 30, "3.00 GB"},
		{"write-faults", 0, "0"}, {"write-faults", 65536, "65536"}, {"write-faults", 2.5, "2.50"}, {"write-faults", 1.5e6, "1.50M"},
	} {
		if got := measure(test.measure).format(test.value); got != test.want {
			t.Errorf("%s of %v: %q, want %q", test.measure, test.value, got, test.want)
		}
	}
	for v, want := range map[float64]string{123: "123×", 12.34: "12.3×", 1.05: "1.05×", 0.0512: "0.051×", 0: "0×"} {
		if got := ratio(v); got != want {
			t.Errorf("ratio %v: %q, want %q", v, got, want)
		}
	}
	if got := (Axis{"", true}).format(64 * mB); got != "64 MB" {
		t.Errorf("64 MB: %q", got)
	}
}

func TestInterval(t *testing.T) {
	for _, few := range [][]float64{{2}, {3, 1, 2}, {3, 1, 2, 2, 2}} {
		if i := interval(few); i.Median != 2 || i.known() || !i.uncertain() || i.spread() != "2.00× [unknown]" {
			t.Errorf("of fewer than six: %+v, %s, want no interval", i, i.spread())
		}
	}
	if i := interval([]float64{1, 2, 3, 4, 5, 6}); i != (Interval{3.5, 1, 6}) {
		t.Errorf("six: %+v", i)
	}
	if many := interval([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}); many.Median != 5.5 || many.Lo < 1 || many.Hi > 10 || many.Lo > 4 || many.Hi < 7 {
		t.Errorf("ten: %+v", many)
	}
	unsorted := []float64{3, 1, 2}
	interval(unsorted)
	if diff := cmp.Diff([]float64{3, 1, 2}, unsorted); diff != "" {
		t.Errorf("the values were changed (-want +got):\n%s", diff)
	}
}

// What has no interval has none in JSON either, and comes back from there as it was.
func TestIntervalInJSON(t *testing.T) {
	for want, values := range map[string][]float64{
		`{"median":2,"lo":null,"hi":null}`: {2, 2, 2},
		`{"median":2,"lo":1,"hi":3}`:       {1, 2, 2, 2, 2, 3},
	} {
		text, err := json.Marshal(interval(values))
		if err != nil || string(text) != want {
			t.Errorf("%v: %s, %v, want %s", values, text, err, want)
		}
		var back Interval
		if err := json.Unmarshal(text, &back); err != nil || back.known() != interval(values).known() || back.Median != 2 {
			t.Errorf("%s: read as %+v, %v", text, back, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"lo":"x"}`), new(Interval)); err == nil {
		t.Error("a bound that is no number was read")
	}
}

// A report of few turns says in each form that its medians have no interval.
func TestFewTurns(t *testing.T) {
	report := tableOf(t, 3)
	var out bytes.Buffer
	if err := report.WriteText(&out, TextOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"~2.00 ms", "note: fewer than 6 turns: ", "not settled: vfork is no slower", "0.95× [unknown] at 16 MB", "1.01× [unknown] at 256 MB"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "as expected") || strings.Contains(out.String(), "NaN") {
		t.Errorf("a verdict on three turns, or a figure that is none:\n%s", out.String())
	}
	out.Reset()
	if err := report.WriteHTML(&out); err != nil || strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "as expected") {
		t.Errorf("%v, or a page with a verdict on three turns, or a figure that is none", err)
	}
}

// Between the parts of a text is one blank line, and no line ends in spaces.
func TestBlankLines(t *testing.T) {
	report := table(t)
	report.Results[1].Expected = nil
	report.Semantics = semantics([]Side{{Method: "syscall", Values: map[string]string{"Parent": "the caller"}},
		{Method: "helper", Values: map[string]string{"Parent": "another"}, Differs: []string{"Parent"}}})
	for _, options := range []TextOptions{{}, {All: true}, {Width: 60}} {
		var out strings.Builder
		if err := report.WriteText(&out, options); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "\n\n\n") || strings.Contains(out.String(), " \n") {
			t.Errorf("%+v: two blank lines, or spaces at an end:\n%q", options, out.String())
		}
		for _, want := range []string{"semantics: What has", "  Parent", "another *"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%+v: no %q in\n%s", options, want, out.String())
			}
		}
	}
}
