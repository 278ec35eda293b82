//go:build linux && cgo && (amd64 || arm64)

package rawfork

// #include "plan.h"
// #include "start.h"
import "C"
import (
	"syscall"
	"unsafe"
)

// This file only gives C names to Go, as cfork.go does.

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

// cMethods are the methods that a plan can be started by.
var cMethods = map[Method]C.int{
	ByFork:  C.RAWFORK_FORK,
	ByVfork: C.RAWFORK_VFORK,
	BySpawn: C.RAWFORK_SPAWN,
}

// cStart calls rawfork_start, by an ordinary cgo call: the child never comes back
// to Go, so the P may go to another goroutine meanwhile.
func cStart(plan []byte, method Method) (started cStarted) {
	C.rawfork_start(unsafe.Pointer(unsafe.SliceData(plan)), C.size_t(len(plan)), cMethods[method], &started)
	return started
}

// cCheck calls rawfork_plan_check.
func cCheck(plan []byte) error {
	if e := C.rawfork_plan_check(unsafe.Pointer(unsafe.SliceData(plan)), C.size_t(len(plan))); e != 0 {
		return syscall.Errno(-e)
	}
	return nil
}

// cLink calls rawfork_plan_link and returns where argv and envp ended up.
func cLink(plan []byte) (argv, envp unsafe.Pointer) {
	var image C.struct_rawfork_image
	C.rawfork_plan_link(unsafe.Pointer(unsafe.SliceData(plan)), &image)
	return unsafe.Pointer(image.argv), unsafe.Pointer(image.envp)
}

// cStepName calls rawfork_step_name.
func cStepName(step int32) string { return C.GoString(C.rawfork_step_name(C.int(step))) }

// cNofile calls rawfork_nofile.
func cNofile() (limit syscall.Rlimit, ok bool) {
	var cur, max C.uint64_t
	ok = C.rawfork_nofile(&cur, &max) == 0
	return syscall.Rlimit{Cur: uint64(cur), Max: uint64(max)}, ok
}
