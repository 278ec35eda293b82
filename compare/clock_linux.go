//go:build cgo && (amd64 || arm64)

package compare

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The clock is CLOCK_MONOTONIC, which is the same in all processes.

func now() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// timespecBytes is ts as it lies in memory, which is how it goes over a pipe.
func timespecBytes(ts *unix.Timespec) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(ts)), unsafe.Sizeof(*ts))
}
