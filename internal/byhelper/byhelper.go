// Package byhelper knows the program's helper, so that the root package finds it:
// package helper imports the root package, not the other way round.
package byhelper

import (
	"sync/atomic"
	"syscall"
)

// A Starter has the signature of [syscall.ForkExec]. Its errors are those of
// rawfork.Method.ForkExec.
type Starter func(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error)

var current atomic.Pointer[Starter]

// Set makes starter the ForkExec of the running helper.
func Set(starter Starter) { current.Store(&starter) }

// ForkExec returns the ForkExec of the helper that was started last, or nil.
func ForkExec() Starter {
	if starter := current.Load(); starter != nil {
		return *starter
	}
	return nil
}
