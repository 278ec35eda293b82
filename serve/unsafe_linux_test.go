package serve_test

import "unsafe"

// addressOf is a pointer as an argument of child.Syscall.
//
//go:nosplit
//go:norace
func addressOf(p *uint64) uintptr { return uintptr(unsafe.Pointer(p)) }
