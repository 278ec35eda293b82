// Package inherit shows what a new process has of its parent: it makes a child in
// each way, reads both from /proc, and says of every field whether it was kept,
// reset, is new, or has gone.
package inherit

import (
	"context"
	"fmt"

	"rawfork"
)

// A Way is a way to make a new process.
type Way struct {
	Name  string `json:"way"`   // "child", or the name of a rawfork.Method
	Title string `json:"title"` // what it is, in a few words

	method rawfork.Method
	bare   bool // a child that executes nothing
}

// Ways returns all ways: a bare fork, and the exec of each method.
func Ways() []Way {
	ways := []Way{{Name: "child", Title: "the child of a bare fork", bare: true}}
	for _, m := range rawfork.Methods() {
		ways = append(ways, Way{Name: m.String(), Title: "a program started by " + m.String(), method: m})
	}
	return ways
}

// A Word says what became of a field of the parent's.
type Word string

const (
	Kept  Word = "kept"  // as in the parent
	Reset Word = "reset" // back to what a fresh process has
	New   Word = "new"   // the child's own
	Gone  Word = "gone"  // the child has nothing of the kind

	Unknown Word = "unknown" // it couldn't be read
)

// A Field is one field of both processes, named as in package procstate. A descriptor,
// a lock, a mapping is one field; threads are counted, and so are mappings where the
// child has executed a program. The values are those of procstate, as text.
type Field struct {
	Name   string `json:"field"`
	Word   Word   `json:"is"`
	Parent string `json:"parent,omitempty"`
	Child  string `json:"child,omitempty"`
}

// String is one line: the name, then the value that was kept, or both.
func (f Field) String() string {
	switch {
	case f.Word == Kept:
		return f.Name + ": " + f.Parent
	case f.Parent == "":
		return f.Name + ": " + f.Child
	case f.Child == "":
		return f.Name + ": " + f.Parent
	}
	return f.Name + ": " + f.Parent + " → " + f.Child
}

// A Report is what one way gave.
type Report struct {
	Way
	Fields []Field `json:"fields"`
}

// Compare makes a child in each of the ways and compares it with this process. To
// have something to inherit, the process is given a pending and an ignored signal,
// file locks, a timer, and mappings with advice on fork for the time; all of that is
// taken back. When ctx ends, so does the child that is there, and the error is ctx's.
//
// The helper method's helper is started before that, as a program would do it.
//
// Fields that change by themselves are left out: sizes of memory, processor state.
//
// Precondition: for the helper method, helper.Init was called, and no helper runs.
func Compare(ctx context.Context, ways []Way) ([]Report, error) {
	reports, err := compare(ctx, ways)
	if err != nil {
		return nil, fmt.Errorf("compare a child with its parent: %w", err)
	}
	return reports, nil
}
