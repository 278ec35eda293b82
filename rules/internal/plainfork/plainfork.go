//go:build linux && cgo

// Package plainfork is the control of the hang matrix: an ordinary cgo call of
// fork() that returns to Go in both processes. Its children hang.
package plainfork

// #cgo CFLAGS: -Wall -Wextra -Werror
// #include "plainfork.h"
import "C"

// Fork returns the child's pid in the parent, 0 in the child, or -errno. The
// child's output goes to the descriptor sink.
func Fork(sink int) int { return int(C.plain_fork(C.int(sink))) }
