package helper

import (
	"fmt"
	"os"
	"sync"
)

// Func is what a Go child runs. Its files are those that were given to
// [Helper.Go], in that order, open and the function's to close. Its result is the
// child's exit status.
type Func func(files []*os.File) int

var registry struct {
	sync.Mutex
	funcs       map[string]Func
	initialised bool
}

// Register gives a function a name by which [Helper.Go] runs it in a child. It
// belongs in an init function, or in main before [Init], so that parent and child
// register the same. It panics when the name is empty, has a NUL byte, is longer
// than 4,096 bytes or is taken, and when fn is nil.
func Register(name string, fn Func) {
	if err := checkName(name); err != nil {
		panic("helper.Register: " + err.Error())
	}
	if fn == nil {
		panic(fmt.Sprintf("helper.Register: %q: nil function", name))
	}
	registry.Lock()
	defer registry.Unlock()
	if registry.funcs[name] != nil {
		panic(fmt.Sprintf("helper.Register: %q is registered already", name))
	}
	if registry.funcs == nil {
		registry.funcs = make(map[string]Func)
	}
	registry.funcs[name] = fn
}

// registered returns the function of that name, or nil.
func registered(name string) Func {
	registry.Lock()
	defer registry.Unlock()
	return registry.funcs[name]
}

// markInitialised notes that the program has called Init.
func markInitialised() {
	registry.Lock()
	defer registry.Unlock()
	registry.initialised = true
}

// isInitialised tells whether the program has called Init.
func isInitialised() bool {
	registry.Lock()
	defer registry.Unlock()
	return registry.initialised
}

// Registered tells whether a function of that name has been registered.
func Registered(name string) bool { return registered(name) != nil }
