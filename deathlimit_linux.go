//go:build cgo && (amd64 || arm64)

package rawfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deathLimit is how long a dying child may take between two things that it prints,
// in seconds: far above what it needs on a loaded machine.
const deathLimit = 10

// deathTimer is the timer that limits the death of this child.
var deathTimer struct {
	made bool
	id   int32
}

// sigevent is struct sigevent of timer_create(2), whose size is 64.
type sigevent struct {
	value         uintptr
	signo, notify int32
	_             [48]byte
}

// limitDeath has this process killed by SIGKILL, which it can't block or ignore,
// unless it ends within so many seconds; 0 takes the limit away.
//
// A child that the guard stops has said why when it goes on to print a traceback.
// What the runtime does then may need a lock that another thread held at the fork:
// with GODEBUG=schedtrace, that of the scheduler. The child would hang, having
// said all that is to be said.
//
//go:nosplit
//go:norace
func limitDeath(seconds int64) {
	if !deathTimer.made {
		event := sigevent{signo: int32(unix.SIGKILL)} // notify 0 is SIGEV_SIGNAL
		_, _, errno := syscall.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC,
			uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&deathTimer.id)))
		if errno != 0 {
			return
		}
		deathTimer.made = true
	}
	var limit unix.ItimerSpec
	limit.Value.Sec = seconds
	syscall.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(deathTimer.id), 0, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
}
