// Package plan is what the child of a fork does on its way to the program that it
// is to be: from a syscall.ProcAttr, by flat bytes that are checked, to an
// executor in C, which runs them in the child of fork, of vfork or of the helper
// process. plan.h says what a plan is, start.h how one is started.
//
// The C of this package needs no Go: another package that imports this one calls
// it with "#cgo CFLAGS: -I${SRCDIR}/../internal/plan" and the header.
package plan

// Error says what went wrong with a plan.
type Error struct {
	Step string // a system call, or the attribute that is at fault
	Err  error  // mostly a syscall.Errno
}

// Error names the step and what was wrong with it.
func (e *Error) Error() string { return e.Step + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
