//go:build linux && cgo && (amd64 || arm64)

package rawfork

import "unsafe" // for go:linkname

// The five entries into the runtime that Fork stands on. They are the only
// linknames of the module. The runtime's source marks all but asmcgocall, which
// is assembly, as used from outside and so kept stable. All link without a flag
// on every supported Go release.

// beforeFork blocks all signals, keeps this goroutine on its thread and its P
// (m.locks), and poisons the goroutine's stack guard.
//
//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

// afterFork undoes beforeFork in the parent.
//
//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// afterForkInChild sets the signals that Go handles back to their default
// actions and restores the signal mask of beforeFork.
//
//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// asmcgocall calls fn(arg) on the thread's system stack and returns its int.
// It doesn't give the P away, as an ordinary cgo call does.
//
//go:linkname asmcgocall runtime.asmcgocall
//go:noescape
func asmcgocall(fn, arg unsafe.Pointer) int32

// overrideWrite, when set, gets all that the runtime prints (fd is 2, or that of
// debug.SetCrashOutput) and returns how much of it was written.
//
//go:linkname overrideWrite runtime.overrideWrite
var overrideWrite func(fd uintptr, p unsafe.Pointer, n int32) int32
