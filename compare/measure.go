package compare

import (
	"fmt"
	"math"
	"slices"
)

// A Measure is something that is measured of making a process.
type Measure struct {
	Name  string `json:"name"`
	Text  string `json:"text"`  // what it is, in a few words
	Nanos bool   `json:"nanos"` // a time; else a count
	Unit  string `json:"unit"`  // its unit in the Go benchmark format
}

// measures are all measures.
var measures = []Measure{
	{"wait", "start until the process is waited for", true, "ns/op"},
	{"return", "how long the call keeps its caller", true, "return-ns/op"},
	{"first", "start until the first instruction of the new program", true, "first-ns/op"},
	{"each", "wall time for each process when several start at once", true, "ns/op"},
	{"half", "time until half of the starts that were asked for at once have returned", true, "half-ns/op"},
	{"write", "time to write the pages while the process lives", true, "write-ns/op"},
	{"write-faults", "page faults of these writes", false, "write-faults/op"},
	{"parent-faults", "page faults of the caller, from the start until the process is waited for", false, "parent-faults/op"},
	{"child-faults", "page faults of the new process", false, "child-faults/op"},
	{"parent-switches", "context switches of the caller, all its threads", false, "parent-switches/op"},
	{"child-switches", "context switches of the new process", false, "child-switches/op"},
	{"tables", "bytes of page tables of the new process", false, "table-bytes/op"},
	{"shared", "bytes of memory that the new process shares with its parent", false, "shared-bytes/op"},
	{"gap-compute", "longest stop of a goroutine that only computes", true, "gap-compute-ns/op"},
	{"gap-fault", "longest stop of a goroutine that touches new memory", true, "gap-fault-ns/op"},
	{"gap-stw", "longest time that stopping the world took", true, "gap-stw-ns/op"},
}

// Measures returns all measures.
func Measures() []Measure { return slices.Clone(measures) }

func measure(name string) Measure {
	i := slices.IndexFunc(measures, func(m Measure) bool { return m.Name == name })
	return measures[i] // the table of experiments has known names only: its test
}

// format writes a value with its unit in three digits.
func (m Measure) format(v float64) string {
	switch {
	case m.Nanos:
		return nanos(v)
	case m.Name == "tables" || m.Name == "shared":
		return bytesText(v)
	}
	return count(v)
}

func nanos(v float64) string {
	switch {
	case v < 1e3:
		return fmt.Sprintf("%.0f ns", v)
	case v < 1e6:
		return digits(v/1e3) + " µs"
	case v < 1e9:
		return digits(v/1e6) + " ms"
	}
	return digits(v/1e9) + " s"
}

func bytesText(v float64) string {
	switch {
	case v < 1<<10:
		return fmt.Sprintf("%.0f B", v)
	case v < 1<<20:
		return digits(v/(1<<10)) + " kB"
	case v < 1<<30:
		return digits(v/(1<<20)) + " MB"
	}
	return digits(v/(1<<30)) + " GB"
}

func count(v float64) string {
	if v == math.Trunc(v) && v < 1e6 {
		return fmt.Sprintf("%.0f", v)
	}
	if v >= 1e6 {
		return digits(v/1e6) + "M"
	}
	return digits(v)
}

// digits writes three significant digits, and no exponent.
func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
