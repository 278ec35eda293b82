//go:build linux && cgo && (amd64 || arm64)

package rawfork

// #cgo CFLAGS: -Wall -Wextra -Werror
// #include "cfork.h"
import "C"
import "unsafe"

// This file only gives C names to Go: everything else in the package is free
// of import "C".

// cfork is the address of rawfork_fork, in the form that asmcgocall takes.
var cfork = unsafe.Pointer(C.rawfork_fork)
