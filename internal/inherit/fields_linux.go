//go:build cgo && (amd64 || arm64)

package inherit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rawfork/procstate"
)

// own are the fields in which a child is itself, by fork or by exec. In any other a
// value that isn't the parent's is that of a fresh process.
var own = []string{"PID", "PPID", "NSPIDs", "StartTime", "Name", "Exe", "Argv", "Autogroup"}

// fields compares a child with its parent, but for the mappings of a bare one.
func fields(parent, child *procstate.State, bare bool) []Field {
	var list []Field
	ignore := []string{"Run", "Ended", "Kernel", "Memory", "Descriptors", "Locks", "Threads", "Maps"}
	for _, c := range procstate.Compare(parent, child, ignore...) {
		f := Field{Name: c.Field, Word: Word(c.Kind), Parent: c.A, Child: c.B}
		switch {
		case parent.Missing[c.Field] != nil || child.Missing[c.Field] != nil:
			f.Word = Unknown
		case c.Kind == procstate.Changed && slices.Contains(own, c.Field):
			f.Word = New
		case c.Kind == procstate.Changed:
			f.Word = Reset
		}
		list = append(list, f)
	}
	list = append(list, descriptors(parent, child, bare)...)
	list = append(list, locks(parent.Locks, child.Locks)...)
	list = append(list, counted("Threads", len(parent.Threads), len(child.Threads), Reset))
	if !bare {
		list = append(list, counted("Maps", len(parent.Maps), len(child.Maps), New))
	}
	return list
}

func counted(name string, parent, child int, other Word) Field {
	f := Field{Name: name, Word: other, Parent: fmt.Sprint(parent), Child: fmt.Sprint(child)}
	if parent == child && other == Reset {
		f.Word = Kept
	}
	return f
}

// descriptors compares the descriptor tables, but for the number that a program that
// was started has its pipe at.
func descriptors(parent, child *procstate.State, bare bool) []Field {
	both := maps.Clone(parent.Descriptors)
	maps.Copy(both, child.Descriptors)
	var list []Field
	for _, fd := range slices.Sorted(maps.Keys(both)) {
		if !bare && fd == readyFD {
			continue
		}
		a, before := parent.Descriptors[fd]
		b, after := child.Descriptors[fd]
		f := Field{Name: fmt.Sprintf("Descriptors[%d]", fd), Word: New, Parent: a.String(), Child: b.String()}
		switch {
		case !before:
			f.Parent = ""
		case !after:
			f.Word, f.Child = Gone, ""
		case f.Parent == f.Child:
			f.Word = Kept
		}
		list = append(list, f)
	}
	return list
}

// locks compares the locks that the two hold or share.
func locks(parent, child []procstate.Lock) []Field {
	var list []Field
	for _, a := range parent {
		f := Field{Name: "Locks[" + a.Kind + "]", Word: Gone, Parent: a.String()}
		if slices.ContainsFunc(child, func(b procstate.Lock) bool { return a.String() == b.String() }) {
			f.Word, f.Child = Kept, f.Parent
		}
		list = append(list, f)
	}
	return list
}

// mappings compares the mappings of a process with those of its copy, by address; what
// they take is left out. Those of a running Go program change: a mapping that isn't the
// same before and after the fork is compared with both.
func mappings(before, after, child []procstate.Map) []Field {
	later, copied := byStart(after), byStart(child)
	var list []Field
	for _, a := range before {
		f := Field{Name: fmt.Sprintf("Maps[%012x %s]", a.Start, cmp.Or(a.Name, "anonymous")), Word: Reset, Parent: mapping(a)}
		now, stayed := later[a.Start]
		b, ok := copied[a.Start]
		f.Child = mapping(b)
		switch {
		case !ok && !stayed:
			continue // the parent has unmapped it meanwhile
		case !ok:
			f.Word, f.Child = Gone, ""
		case f.Child == f.Parent, stayed && f.Child == mapping(now):
			f.Word = Kept
		}
		list = append(list, f)
	}
	return list
}

func byStart(list []procstate.Map) map[uint64]procstate.Map {
	maps := make(map[uint64]procstate.Map, len(list))
	for _, m := range list {
		maps[m.Start] = m
	}
	return maps
}

func mapping(m procstate.Map) string {
	return fmt.Sprintf("%s to %012x, %s", m.Perms, m.End, strings.Join(m.VmFlags, " "))
}
