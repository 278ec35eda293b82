package compare

import (
	"fmt"
	"slices"
	"strings"
)

// A Method is a way to make a process.
type Method struct {
	Name  string
	Text  string // what it is, in a few words
	Floor bool   // not a choice for a Go program: what the others are measured against
	RGB   uint32 // its colour, the same in every chart
}

// methods are all methods. Those that only fork have a name of their own: they do
// less than those that execute a program.
var methods = []Method{
	{Name: "syscall", Text: "syscall.ForkExec, the reference", RGB: 0x000000},
	{Name: "osexec", Text: "os/exec: Start and Wait", RGB: 0x8c564b},
	{Name: "fork", Text: "rawfork.ByFork: libc fork, then exec", RGB: 0x1f5fbf},
	{Name: "vfork", Text: "rawfork.ByVfork: the child borrows the memory until its exec", RGB: 0xe07b00},
	{Name: "spawn", Text: "rawfork.BySpawn: posix_spawn of the C library", RGB: 0x2a9d3a},
	{Name: "helper", Text: "rawfork.ByHelper: forked by a small single-threaded process", RGB: 0x9b30c9},
	{Name: "fork-only", Text: "rawfork.Fork: a copy of the process, no exec", RGB: 0x00a0b8},
	{Name: "ready", Text: "a Go child of the helper, booted ahead", RGB: 0xd81b60},
	{Name: "gochild", Text: "a Go child of the helper, booted when asked for", RGB: 0x9e7d00},
	{Name: "cfork", Text: "fork and exec in one C function", Floor: true, RGB: 0x8a8a8a},
	{Name: "cvfork", Text: "vfork and exec in one C function", Floor: true, RGB: 0xb5a48c},
	{Name: "cfork-only", Text: "fork and _exit in one C function", Floor: true, RGB: 0x8a8a8a},
	{Name: "cvfork-only", Text: "vfork and _exit in one C function", Floor: true, RGB: 0xb5a48c},
	{Name: "none", Text: "no process is made", Floor: true, RGB: 0xa8a8a8},
}

// Methods returns all methods.
func Methods() []Method { return slices.Clone(methods) }

func method(name string) Method {
	i := slices.IndexFunc(methods, func(m Method) bool { return m.Name == name })
	return methods[i] // the table of experiments has known names only: its test
}

// CheckMethods tells whether all names are names of methods. The error for one
// that isn't lists those there are.
func CheckMethods(names []string) error {
	var known []string
	for _, m := range methods {
		known = append(known, m.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("no method %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}
