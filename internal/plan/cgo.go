//go:build linux && cgo && (amd64 || arm64)

package plan

// #cgo CFLAGS: -Wall -Wextra -Werror
// #include "plan.h"
// #include "start.h"
import "C"
import (
	"syscall"
	"unsafe"
)

// This file only gives C names to Go: the rest of the package is free of
// import "C".

type (
	cPlan    = C.struct_rawfork_plan
	cStarted = C.struct_rawfork_started
	cInt     = C.int32_t
	cUint    = C.uint32_t
	cUint64  = C.uint64_t
)

const (
	planMagic   = C.RAWFORK_PLAN_MAGIC
	planStrings = C.RAWFORK_STRINGS
	planClone   = C.RAWFORK_CLONEFLAGS

	planSetsid         = C.RAWFORK_SETSID
	planSetpgid        = C.RAWFORK_SETPGID
	planForeground     = C.RAWFORK_FOREGROUND
	planSetctty        = C.RAWFORK_SETCTTY
	planNoctty         = C.RAWFORK_NOCTTY
	planPtrace         = C.RAWFORK_PTRACE
	planCredential     = C.RAWFORK_CREDENTIAL
	planSetgroups      = C.RAWFORK_SETGROUPS
	planUidMap         = C.RAWFORK_UID_MAP
	planGidMap         = C.RAWFORK_GID_MAP
	planAllowSetgroups = C.RAWFORK_ALLOW_SETGROUPS
	planCgroup         = C.RAWFORK_CGROUP
	planPidFD          = C.RAWFORK_PIDFD
	planNofile         = C.RAWFORK_NOFILE
)

// How a plan is started.
type How C.int

// See rawfork_start.
const (
	Fork  How = C.RAWFORK_FORK
	Vfork How = C.RAWFORK_VFORK
	Spawn How = C.RAWFORK_SPAWN
)

// start calls rawfork_start, by an ordinary cgo call: the child never comes back
// to Go, so the P may go to another goroutine meanwhile.
func start(plan []byte, how How) (started cStarted) {
	C.rawfork_start(unsafe.Pointer(unsafe.SliceData(plan)), C.size_t(len(plan)), C.int(how), &started)
	return started
}

// Check calls rawfork_plan_check.
func Check(plan []byte) error {
	if e := C.rawfork_plan_check(unsafe.Pointer(unsafe.SliceData(plan)), C.size_t(len(plan))); e != 0 {
		return syscall.Errno(-e)
	}
	return nil
}

// Shares tells whether a checked plan is one that rawfork_start_for_parent refuses.
func Shares(plan []byte) bool {
	p := (*cPlan)(unsafe.Pointer(unsafe.SliceData(plan)))
	return p.flags&C.RAWFORK_PTRACE != 0 || p.cloneflags&C.RAWFORK_CLONE_SHARED != 0
}

// link calls rawfork_plan_link and returns where argv and envp are then.
func link(plan []byte) (argv, envp unsafe.Pointer) {
	var image C.struct_rawfork_image
	C.rawfork_plan_link(unsafe.Pointer(unsafe.SliceData(plan)), &image)
	return unsafe.Pointer(image.argv), unsafe.Pointer(image.envp)
}

// StepName returns what an error calls a step of a plan that failed.
func StepName(step int32) string { return C.GoString(C.rawfork_step_name(C.int(step))) }

// firstNofile calls rawfork_nofile.
func firstNofile() (limit syscall.Rlimit, ok bool) {
	var cur, max C.uint64_t
	ok = C.rawfork_nofile(&cur, &max) == 0
	return syscall.Rlimit{Cur: uint64(cur), Max: uint64(max)}, ok
}
