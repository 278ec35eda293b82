//go:build linux && cgo && (amd64 || arm64)

package probe

// #cgo CFLAGS: -Wall -Wextra -Werror
// #include "handler.h"
import "C"
import "unsafe"

// This file only gives C names to Go.

var (
	countHandler  = uintptr(unsafe.Pointer(C.rawfork_probe_count))
	countRestorer = uintptr(unsafe.Pointer(C.rawfork_probe_restorer))
	counts        = uintptr(unsafe.Pointer(&C.rawfork_probe_handled))
)
