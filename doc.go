// Package rawfork is real fork(2) for Go.
//
// A small C shim calls libc's fork with the Go runtime held still. The call
// returns twice to Go code, and the child takes a constrained path: it execs at
// once, or serves a passed descriptor, by the functions of package child.
//
//	pid, err := rawfork.Fork() // wraps fork(2): returns twice
//	switch {
//	case err != nil: // no child was made
//	case pid == 0: // the child: only package child, then Exec or Exit
//		child.WriteString(1, "hello from the child\n")
//		child.Exit(7)
//	default: // the parent
//		status, err := rawfork.Wait(pid)
//		fmt.Println(status.ExitStatus(), err) // 7 <nil>
//	}
//
// What the child may not do is not a matter of luck: a call that could
// allocate, lock or grow the stack dies at once, with exit status 2 and the
// function's name in a traceback, instead of hanging. [Fork] states the contract,
// CAVEATS.md the limits of the guard and what goes wrong without it.
//
// Fork is real on linux/amd64 and linux/arm64 with cgo. Elsewhere the module
// builds, and every call returns [errors.ErrUnsupported].
package rawfork
