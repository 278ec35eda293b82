package compare

import (
	"maps"
	"slices"
)

// SemanticsName is what asks for [Semantics] where the names of experiments stand, and
// SemanticsQuestion the question that it answers.
const (
	SemanticsName     = "semantics"
	SemanticsQuestion = "What has the new process, by each method: descriptors, signals, threads, memory?"
)

// Semantics is what the processes are that the methods make, side by side.
type Semantics struct {
	// Fields are the names of what is shown, in order. Those of the first rows are
	// always there, those after them where a process differs.
	Fields []string `json:"fields"`
	Sides  []Side   `json:"sides"`
}

// A Side is what one method makes. The first side is that of syscall.ForkExec.
type Side struct {
	Method string            `json:"method"`
	Values map[string]string `json:"values"` // by field
	// Differs has the fields that are not as after syscall.ForkExec.
	Differs []string `json:"differs"`
}

// leakedFD is a descriptor that the describing process has open without close-on-exec, far
// above those that the runtime opens.
const leakedFD = 50

// described are the methods of the second page of the report, the reference first.
var described = []string{"syscall", "osexec", "fork", "vfork", "spawn", "helper", "gochild", "fork-only"}

// firstFields are shown in any case.
var firstFields = []string{"Parent", "Program", "Threads", "Descriptors", "Signals blocked", "Signals ignored",
	"Signals caught", "Shared until written"}

// table is the semantics as text, a row for each field and a column for each method. What
// isn't as after syscall.ForkExec has a mark.
func (s *Semantics) table(mark func(string) string) (header []string, rows [][]string) {
	header = []string{""}
	for _, side := range s.Sides {
		header = append(header, side.Method)
	}
	for _, field := range s.Fields {
		row := []string{field}
		for _, side := range s.Sides {
			cell := side.Values[field]
			if slices.Contains(side.Differs, field) {
				cell = mark(cell)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return header, rows
}

// semantics puts sides together: a field that is nowhere different is shown only if it
// is one of the first.
func semantics(sides []Side) *Semantics {
	s := &Semantics{Fields: slices.Clone(firstFields), Sides: sides}
	for _, side := range sides {
		for _, field := range side.Differs {
			if !slices.Contains(s.Fields, field) {
				s.Fields = append(s.Fields, field)
			}
		}
	}
	for _, side := range sides {
		maps.DeleteFunc(side.Values, func(field, _ string) bool { return !slices.Contains(s.Fields, field) })
	}
	return s
}
