// Package purity reads from the machine code of a program what a function that may
// run in the child of a fork can come to do: it follows every call to its end,
// where there must be nothing but straight calls, and the kernel. What allocates,
// checks its stack, locks or calls into the runtime is found out.
package purity

import (
	"fmt"
	"sort"
	"strings"
)

// Program is the machine code of a program: its functions in order of address,
// each with where it can go on.
type Program struct {
	ordered []*function
	byName  map[string][]*function
}

type function struct {
	name       string
	start, end uint64
	targets    []target
	kernel     bool     // has an instruction that calls the kernel
	faults     []string // what can't be followed
}

// target is where a call or jump goes: a symbol or an address.
type target struct {
	symbol  string
	address uint64
}

// resolve finds the functions that a target may be in.
func (p *Program) resolve(to target) []*function {
	if to.symbol != "" {
		return p.byName[to.symbol]
	}
	after := sort.Search(len(p.ordered), func(i int) bool { return p.ordered[i].start > to.address })
	if after == 0 || to.address >= p.ordered[after-1].end {
		return nil
	}
	return p.ordered[after-1 : after]
}

// Found is what can be reached from one function.
type Found struct {
	Functions []string // the functions themselves, by the linker's names
	Kernel    bool     // there is a system call
	Faults    []string // what a child may not do, each with the calls that lead to it
}

// Follow goes from the function of that name to all that it can reach. It doesn't
// go into what has a fault, or checks its stack, itself.
func (p *Program) Follow(name string) Found {
	var result Found
	visited := map[*function]bool{}
	var visit func(f *function, path string)
	visit = func(f *function, path string) {
		if visited[f] {
			return
		}
		visited[f] = true
		result.Functions = append(result.Functions, f.name)
		result.Kernel = result.Kernel || f.kernel
		stop := false
		fault := func(what string) {
			result.Faults = append(result.Faults, path+": "+what)
			stop = true
		}
		for _, what := range f.faults {
			fault(what)
		}
		for _, to := range f.targets {
			if strings.HasPrefix(to.symbol, "runtime.morestack") {
				fault("checks its stack")
			}
		}
		if stop {
			return
		}
		for _, to := range f.targets {
			next := p.resolve(to)
			if len(next) == 0 {
				fault(fmt.Sprintf("goes to %s%#x, which is no function of the program", to.symbol, to.address))
			}
			for _, n := range next {
				visit(n, path+" > "+n.name)
			}
		}
	}
	roots := p.byName[name]
	if len(roots) == 0 {
		result.Faults = []string{name + ": not in the program"}
	}
	for _, f := range roots {
		visit(f, name)
	}
	return result
}
