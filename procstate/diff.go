package procstate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var (
	// Moving are the fields that change in a process which only goes on running.
	Moving = []string{"Run", "Memory", "Maps", "Threads"}
	// Identity are the fields in which no two processes agree.
	Identity = []string{"PID", "NSPIDs", "StartTime"}
)

// A Kind says how the two sides of a [Change] stand to each other.
type Kind string

const (
	Kept    Kind = "kept"    // both have it, with the same value
	Changed Kind = "changed" // both have it, with different values
	New     Kind = "new"     // only b has it
	Gone    Kind = "gone"    // only a has it
)

// A Change is one field of two states.
type Change struct {
	// Field is such as "Umask", "UIDs.Effective", "Limits[nofile]", "Env[PATH]",
	// "Descriptors[3].Offset", "Maps[7f0012345000 /lib/libc.so.6].VmFlags". Threads
	// are numbered from 0, the thread group leader, as their ids always differ.
	Field string `json:"field"`
	Kind  Kind   `json:"kind"`
	// A and B are the values as text, empty on the side that doesn't have the
	// field. One that couldn't be read is the reason in parentheses.
	A string `json:"a,omitempty"`
	B string `json:"b,omitempty"`
}

// String is one line: "Umask: 0022 → 0077".
func (c Change) String() string {
	a, b := c.A, c.B
	switch c.Kind {
	case Kept:
		return c.Field + ": " + a
	case New:
		a = "nothing"
	case Gone:
		b = "nothing"
	}
	return c.Field + ": " + a + " → " + b
}

// Diff tells what differs between two states, one field a line as [Change] has it,
// in the order of State's fields. It is empty when nothing does. A field is left
// out when an element of ignore is its name, a beginning of it up to a dot or
// bracket, or either of these without what is in the brackets: "Memory",
// "Descriptors[3]", "Descriptors[].Offset".
func Diff(a, b *State, ignore ...string) string {
	var text strings.Builder
	for _, c := range Changes(a, b, ignore...) {
		text.WriteString(c.String())
		text.WriteByte('\n')
	}
	return text.String()
}

// Changes is Diff as values.
func Changes(a, b *State, ignore ...string) []Change {
	return slices.DeleteFunc(Compare(a, b, ignore...), func(c Change) bool { return c.Kind == Kept })
}

// Compare returns every field of both states, the Kept ones too. A field that
// couldn't be read on one side has changed, unless the other side's reason is
// the same.
func Compare(a, b *State, ignore ...string) []Change {
	r := &reporter{missing: [2]Missing{a.Missing, b.Missing}}
	cmp.Equal(a, b, append(options(r.unread), cmp.Reporter(r))...)
	changes := r.withMissing(a, b)
	slices.SortStableFunc(changes, func(x, y Change) int { return order(x.Field) - order(y.Field) })
	return slices.DeleteFunc(changes, func(c Change) bool { return ignored(c.Field, ignore) })
}

// options make cmp see the lists of a State by key, and the small lists and
// structs as one value.
func options(unread func(string) bool) []cmp.Option {
	field := func(names ...string) func(cmp.Path) bool {
		return func(p cmp.Path) bool { return slices.Contains(names, p.Last().String()) }
	}
	not := func(f func(cmp.Path) bool) func(cmp.Path) bool {
		return func(p cmp.Path) bool { return !f(p) }
	}
	return []cmp.Option{
		cmp.FilterPath(field(".Missing", ".TID", ".Info"), cmp.Ignore()),
		cmp.FilterPath(func(p cmp.Path) bool { return unread(fieldName(p)) }, cmp.Ignore()),
		cmp.FilterPath(field(".Env"), cmp.Transformer("byName", envByName)),
		cmp.FilterPath(not(field(".Env")), cmp.Comparer(slices.Equal[[]string])),
		cmp.Comparer(slices.Equal[[]int]),
		cmp.Comparer(func(x, y Path) bool { return x == y }),
		cmp.Comparer(func(x, y Limit) bool { return x == y }),
		cmp.Transformer("byNumber", func(list []Thread) map[int]Thread {
			threads := make(map[int]Thread, len(list))
			for i, t := range list {
				threads[i] = t
			}
			return threads
		}),
		cmp.Transformer("byID", func(list []Timer) map[int]Timer {
			return byKey(list, func(t Timer) int { return t.ID })
		}),
		cmp.Transformer("byLine", func(list []Lock) map[string]Lock {
			return byKey(list, Lock.String)
		}),
		cmp.Transformer("byStart", func(list []Map) map[string]Map {
			return byKey(list, func(m Map) string {
				return strings.TrimSpace(fmt.Sprintf("%012x %s", m.Start, m.Name))
			})
		}),
	}
}

func byKey[K comparable, V any](list []V, key func(V) K) map[K]V {
	m := make(map[K]V, len(list))
	for _, v := range list {
		m[key(v)] = v
	}
	return m
}

// envByName keeps a name that comes twice, as execve(2) does.
func envByName(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		key := name
		for i := 2; ; i++ {
			if _, taken := m[key]; !taken {
				break
			}
			key = fmt.Sprintf("%s#%d", name, i)
		}
		m[key] = value
	}
	return m
}

// A reporter gathers the leaves that cmp comes to.
type reporter struct {
	path    cmp.Path
	changes []Change
	missing [2]Missing
}

func (r *reporter) PushStep(step cmp.PathStep) { r.path = append(r.path, step) }
func (r *reporter) PopStep()                   { r.path = r.path[:len(r.path)-1] }

func (r *reporter) Report(result cmp.Result) {
	if result.ByIgnore() {
		return
	}
	a, b := r.path.Last().Values()
	c := Change{Field: fieldName(r.path), A: format(a), B: format(b)}
	r.changes = append(r.changes, c.judge(result.Equal()))
}

func (c Change) judge(equal bool) Change {
	switch {
	case equal:
		c.Kind = Kept
	case c.A == "":
		c.Kind = New
	case c.B == "":
		c.Kind = Gone
	default:
		c.Kind = Changed
	}
	return c
}

func (r *reporter) unread(field string) bool {
	return r.missing[0][field] != nil || r.missing[1][field] != nil
}

// withMissing adds the fields that a side couldn't read.
func (r *reporter) withMissing(a, b *State) []Change {
	changes := r.changes
	for field := range r.missing[0] {
		changes = append(changes, r.oneMissing(field, a, b))
	}
	for field := range r.missing[1] {
		if r.missing[0][field] == nil {
			changes = append(changes, r.oneMissing(field, a, b))
		}
	}
	slices.SortFunc(changes[len(r.changes):], func(x, y Change) int { return strings.Compare(x.Field, y.Field) })
	return changes
}

func (r *reporter) oneMissing(field string, a, b *State) Change {
	side := func(m Missing, s *State) string {
		if err := m[field]; err != nil {
			return "(" + err.Error() + ")"
		}
		return summary(s, field)
	}
	c := Change{Field: field, A: side(r.missing[0], a), B: side(r.missing[1], b)}
	return c.judge(r.missing[0][field] != nil && r.missing[1][field] != nil && sameReason(c.A, c.B))
}

// sameReason compares two reasons but for the pid in the path that they may name.
func sameReason(a, b string) bool {
	cut := func(text string) string {
		before, rest, found := strings.Cut(text, "/proc/")
		if _, after, ok := strings.Cut(rest, "/"); found && ok {
			return before + after
		}
		return text
	}
	return cut(a) == cut(b)
}

// summary is the value of a field that the other side couldn't read.
func summary(s *State, field string) string {
	name, key, _ := strings.Cut(strings.TrimSuffix(field, "]"), "[")
	v := reflect.ValueOf(s).Elem().FieldByName(name)
	if key != "" {
		return format(v.MapIndex(reflect.ValueOf(key)))
	}
	if kind := v.Kind(); (kind == reflect.Map || kind == reflect.Slice) && v.Len() > 3 {
		return fmt.Sprintf("%d entries", v.Len())
	}
	return format(v)
}

// fieldName puts cmp's path into a field's name.
func fieldName(path cmp.Path) string {
	var name strings.Builder
	for _, step := range path {
		switch step := step.(type) {
		case cmp.StructField:
			if name.Len() > 0 {
				name.WriteByte('.')
			}
			name.WriteString(step.Name())
		case cmp.MapIndex:
			name.WriteString("[" + keyText(step.Key()) + "]")
		}
	}
	return name.String()
}

// keyText writes a key on one line.
func keyText(key reflect.Value) string {
	text := fmt.Sprint(key)
	if strings.ContainsFunc(text, unicode.IsControl) {
		quoted := strconv.Quote(text)
		return quoted[1 : len(quoted)-1]
	}
	return text
}

// order is the place of a field in State.
func order(field string) int {
	name, _, _ := strings.Cut(field, "[")
	name, _, _ = strings.Cut(name, ".")
	f, ok := reflect.TypeFor[State]().FieldByName(name)
	if !ok {
		return -1
	}
	return f.Index[0]
}

func ignored(field string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return begins(field, pattern) || begins(withoutKeys(field), pattern)
	})
}

func begins(field, pattern string) bool {
	rest, ok := strings.CutPrefix(field, pattern)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// withoutKeys empties the brackets: the first opens the key, the last closes it,
// since no field has two and a key may hold any byte.
func withoutKeys(field string) string {
	from, to := strings.IndexByte(field, '['), strings.LastIndexByte(field, ']')
	if from < 0 || to < from {
		return field
	}
	return field[:from+1] + field[to:]
}

// format writes a value on one line, and never as nothing.
func format(v reflect.Value) string {
	if !v.IsValid() {
		return ""
	}
	switch value := v.Interface().(type) {
	case fmt.Stringer:
		return value.String()
	case string:
		return strconv.Quote(value)
	case []string:
		return fmt.Sprintf("%q", value)
	case []int:
		return ranges(value)
	default:
		switch v.Kind() {
		case reflect.Map, reflect.Slice:
			if v.Len() == 0 {
				return "none"
			}
			fallthrough
		case reflect.Struct:
			text, _ := json.Marshal(value)
			return string(text)
		}
		return fmt.Sprint(value)
	}
}

// ranges writes a list of numbers as 0-3,7.
func ranges(list []int) string {
	if len(list) == 0 {
		return "none"
	}
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		part := strconv.Itoa(list[i])
		if j > i {
			part += "-" + strconv.Itoa(list[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
