package compare

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The table can't be checked by the compiler: names in it are strings.
func TestExperiments(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range Experiments() {
		t.Run(e.Name, func(t *testing.T) {
			if seen[e.Name] {
				t.Error("the name is taken")
			}
			seen[e.Name] = true
			for _, name := range e.Measures {
				if place(name) < 0 {
					t.Errorf("unknown measure %q", name)
				}
			}
			for _, s := range e.Series {
				if err := CheckMethods([]string{s.Method}); err != nil {
					t.Error(err)
				}
			}
			if !slices.Contains(e.Series, e.Reference) {
				t.Errorf("the reference %v is not one of its series", e.Reference)
			}
			for _, xs := range [][]float64{e.X, e.Quick} {
				if len(xs) < 2 || !slices.IsSorted(xs) {
					t.Errorf("not two or more values of x, ascending: %v", xs)
				}
			}
			if len(e.Quick) > len(e.X) || len(e.Measures) == 0 || e.answer == nil || e.vary == nil {
				t.Error("incomplete")
			}
		})
	}
}

// By the estimates all of it takes less than ten minutes, and a quick run less than
// one; and however slow the machine, the limits hold for what is measured.
func TestDuration(t *testing.T) {
	for _, test := range []struct {
		options Options
		limit   time.Duration
	}{
		{Options{}, 10 * time.Minute},
		{Options{Quick: true}, time.Minute},
	} {
		r := runner{options: test.options, memory: 1 << 40, touch: time.Second}
		var estimated, most time.Duration
		for _, e := range Experiments() {
			for _, x := range r.points(&Result{experiment: &e}) {
				estimated += r.estimate(&e, x)
				most += r.limit()
			}
		}
		if estimated > test.limit || most > test.limit {
			t.Errorf("quick %v: estimated %v, at most %v, want less than %v", test.options.Quick, estimated, most, test.limit)
		}
	}
}

func TestFind(t *testing.T) {
	for _, test := range []struct {
		names []string
		want  []string
		err   string
	}{
		{nil, []string{"heap", "fork", "hugepages", "tables", "written", "latency", "threads", "mappings", "descriptors", "parallel", "ready"}, ""},
		{[]string{"ready", "heap"}, []string{"heap", "ready"}, ""},
		{[]string{"ready", "semantics"}, []string{"ready"}, ""},
		{[]string{"semantics"}, nil, ""},
		{[]string{"heap", "heep"}, nil, `no experiment "heep"; there are heap, fork, hugepages, tables, written, latency, threads, mappings, descriptors, parallel, ready, semantics`},
	} {
		found, err := Find(test.names)
		var names []string
		for _, e := range found {
			names = append(names, e.Name)
		}
		if diff := cmp.Diff(test.want, names); diff != "" {
			t.Errorf("Find(%q) (-want +got):\n%s", test.names, diff)
		}
		if diff := cmp.Diff(test.err, errorText(err)); diff != "" {
			t.Errorf("Find(%q), error (-want +got):\n%s", test.names, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		options Options
		want    string // a part of the error; empty: none
	}{
		{Options{}, ""},
		{Options{Experiments: []string{"heap"}, Methods: []string{"fork", "osexec"}, Heap: 1, Turns: 1}, ""},
		{Options{Experiments: []string{""}}, `no experiment ""; there are heap, fork,`},
		{Options{Methods: []string{"fork", "vfrok"}}, `no method "vfrok"; there are syscall, osexec, fork, vfork,`},
		{Options{Methods: []string{"ready", "vfork"}}, ""},
		{Options{Experiments: []string{"fork"}, Methods: []string{"fork-only", "vfork"}}, `no method "vfork" in fork; there are fork-only, cfork-only, cvfork-only`},
		{Options{Experiments: []string{"fork", "heap"}, Methods: []string{"fork-only", "vfork"}}, ""},
		{Options{Experiments: []string{"semantics"}, Methods: []string{"cfork"}}, `no method "cfork" in semantics; there are syscall, osexec,`},
		{Options{Heap: -1}, "must not be negative"},
		{Options{Turns: -1}, "must not be negative"},
	} {
		err := errorText(test.options.Check())
		if (err == "") != (test.want == "") || !strings.Contains(err, test.want) {
			t.Errorf("%+v: error %q, want %q", test.options, err, test.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// On a machine with large pages too, what is written to is there.
func TestWrittenFits(t *testing.T) {
	all, err := Find([]string{"written"})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range slices.Concat(all[0].X, all[0].Quick) {
		if need, do := all[0].at(all[0].Reference, x); int64(do.Pages)*4*kB > need.Heap {
			t.Errorf("%d pages of 4 kB to write to, in %d bytes", do.Pages, need.Heap)
		}
	}
}
