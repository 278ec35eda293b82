package compare

import (
	"maps"
	"slices"
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

// described are the methods of the second page of the report, the reference first.
var described = []string{"syscall", "osexec", "fork", "vfork", "spawn", "helper", "gochild", "fork-only"}

// firstFields are shown in any case.
var firstFields = []string{"Parent", "Program", "Threads", "Descriptors", "Signals blocked", "Signals ignored",
	"Signals caught", "Shared until written"}

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
