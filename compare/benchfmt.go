package compare

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// WriteBenchmark writes the report in the Go benchmark format, a line for each turn,
// which benchstat and its like read:
//
//	benchstat -filter '.name:Heap .unit:sec/op' -row /x -col /method compare.bench
func (r *Report) WriteBenchmark(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "goos: %s\ngoarch: %s\npkg: rawfork/compare\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, r.Machine.Processor)
	fmt.Fprintf(out, "kernel: %s\nhugepages: %s\ntoolchain: %s\nload: %s\n", r.Machine.Kernel, r.Machine.HugePages, r.Machine.Go, r.Machine.Load)
	if len(r.Noise) > 0 {
		fmt.Fprintf(out, "noisy: %s\n", strings.Join(r.Noise, "; "))
	}
	for i := range r.Results {
		result := &r.Results[i]
		for _, p := range result.Points {
			result.writeBenchmark(out, p)
		}
	}
	return out.Flush()
}

func (r *Result) writeBenchmark(out io.Writer, p Point) {
	name := fmt.Sprintf("Benchmark%s/x=%s/method=%s", title(r.Experiment), strings.ReplaceAll(r.x(p.X), " ", ""), p.Method)
	if p.Memory != Small {
		name += "/memory=" + string(p.Memory)
	}
	turns := 0
	names := slices.SortedFunc(maps.Keys(p.Measured), func(a, b string) int { return place(a) - place(b) })
	for _, f := range p.Measured {
		turns = max(turns, len(f.Turns))
	}
	for i := range turns {
		fmt.Fprintf(out, "%s 1", name)
		for _, name := range names {
			if f := p.Measured[name]; i < len(f.Turns) {
				fmt.Fprintf(out, " %s %s", strconv.FormatFloat(f.Turns[i], 'f', -1, 64), measure(name).Unit)
			}
		}
		fmt.Fprintln(out)
	}
}

// title makes the name of an experiment one of a benchmark: Heap of heap.
func title(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// place is a measure's place in the table of measures.
func place(name string) int {
	return slices.IndexFunc(measures, func(m Measure) bool { return m.Name == name })
}
