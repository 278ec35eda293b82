//go:build linux && cgo

package floor

// #cgo CFLAGS: -Wall -Wextra -Werror -O2
// #include <stdlib.h>
// #include "floor.h"
import "C"

import (
	"fmt"
	"syscall"
	"unsafe"
)

// How is a way to make a process in C.
type How int

const (
	ForkExec  How = C.FLOOR_FORK_EXEC  // fork, execve
	VforkExec How = C.FLOOR_VFORK_EXEC // vfork, execve
	ForkExit  How = C.FLOOR_FORK_EXIT  // fork, _exit
	VforkExit How = C.FLOOR_VFORK_EXIT // vfork, _exit
)

// Times is what one process took. Times are nanoseconds of CLOCK_MONOTONIC.
type Times struct {
	Start, Returned, Ended int64
	Faults, Switches       int64 // of the child
}

// Run makes a child and waits for its end. With ForkExec and VforkExec it executes
// path with stampFD, which must not be 3, as its descriptor 3; with the others it
// writes the time of its first instruction to stamp, which must be in memory that
// is shared with the child. On error there is no child.
func Run(how How, path string, stampFD int, stamp *int64) (Times, error) {
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	var t C.struct_floor_times
	errno := C.floor_run(C.int(how), cpath, C.int(stampFD), (*C.longlong)(unsafe.Pointer(stamp)), &t)
	if errno != 0 {
		return Times{}, fmt.Errorf("fork in C: %w", syscall.Errno(errno))
	}
	return Times{int64(t.start), int64(t.returned), int64(t.ended), int64(t.faults), int64(t.switches)}, nil
}
