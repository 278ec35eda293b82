//go:build linux && cgo && (amd64 || arm64)

package plan

import (
	"debug/elf"
	"encoding/binary"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// childRoots are the functions that a child begins in.
var childRoots = []string{"run_forked", "run_vforked"}

// safe are the functions of libc that a child may call: async-signal-safe by POSIX.1-2016
// and signal-safety(7), with syscall(2), which is a system call and errno, and where
// errno is.
var safe = []string{"syscall", "__errno_location", "___errno_location",
	"memset", "memcpy", "strlen", "strcpy", "strcat", "stpcpy",
	"__stack_chk_fail", "__stack_chk_guard"} // of compilers that guard the stack by default

// What a child calls on its way to execve is async-signal-safe, and nothing of it
// allocates. That is read from the compiled code: which function refers to which.
func TestChildCallsAreSafe(t *testing.T) {
	calls := map[string][]string{}
	for _, name := range []string{"start.c", "execute.c", "plan.c"} {
		maps.Copy(calls, references(t, name))
	}
	for _, root := range childRoots {
		if calls[root] == nil {
			t.Fatalf("no function %s in the compiled code", root)
		}
	}
	foreign := map[string]bool{}
	seen := map[string]bool{}
	var follow func(name string)
	follow = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		if calls[name] == nil {
			foreign[name] = true
			return
		}
		for _, callee := range calls[name] {
			follow(callee)
		}
	}
	for _, root := range childRoots {
		follow(root)
	}
	got := slices.DeleteFunc(slices.Sorted(maps.Keys(foreign)), func(name string) bool { return slices.Contains(safe, name) })
	if diff := cmp.Diff([]string(nil), got, cmp.Transformer("", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
		t.Errorf("called in the child and not async-signal-safe (-want +got):\n%s", diff)
	}
	if !foreign["syscall"] || !seen["rawfork_execute"] {
		t.Errorf("the calls weren't followed: %v", slices.Sorted(maps.Keys(seen)))
	}
}

// The reading finds what is not safe: the parent's part of the same file.
func TestParentCallsAreFound(t *testing.T) {
	for _, callees := range references(t, "start.c") {
		if slices.Contains(callees, "waitpid") {
			return
		}
	}
	t.Error("no function of start.c is seen to call waitpid")
}

// references compiles a C file, each function by itself and in a section of its own, and returns
// for each what it refers to, but for data.
func references(t *testing.T, name string) map[string][]string {
	t.Helper()
	cc, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(t.TempDir(), "object")
	args := append(strings.Fields(string(cc)), "-std=gnu11", "-O2", "-fno-inline", "-ffunction-sections", "-c", "-o", object, name)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	file, err := elf.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string][]string{}
	for _, section := range file.Sections {
		if function, ok := functionOf(section.Name); ok {
			functions[function] = []string{} // also one that refers to nothing
		}
	}
	for _, section := range file.Sections {
		if section.Type != elf.SHT_RELA {
			continue
		}
		function, ok := functionOf(file.Sections[section.Info].Name)
		if !ok {
			continue
		}
		rela, err := section.Data()
		if err != nil {
			t.Fatal(err)
		}
		for ; len(rela) >= 24; rela = rela[24:] {
			symbol := symbols[binary.NativeEndian.Uint64(rela[8:])>>32-1] // the first is left out
			local := strings.HasPrefix(symbol.Name, ".L")                 // a string
			if name := symbol.Name; name != "" && !local && elf.ST_TYPE(symbol.Info) != elf.STT_OBJECT {
				functions[function] = append(functions[function], name)
			} else if !local && int(symbol.Section) < len(file.Sections) {
				if callee, ok := functionOf(file.Sections[symbol.Section].Name); ok && callee != function {
					functions[function] = append(functions[function], callee)
				}
			}
		}
	}
	return functions
}

// functionOf is the function that a section of code is made for, without what the
// compiler adds to the names of clones (.cold, .isra.0).
func functionOf(section string) (string, bool) {
	name, ok := strings.CutPrefix(section, ".text.")
	for _, group := range []string{"unlikely.", "startup.", "exit.", "hot."} {
		name = strings.TrimPrefix(name, group)
	}
	name, _, _ = strings.Cut(name, ".")
	return name, ok
}
