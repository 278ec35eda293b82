//go:build cgo && (amd64 || arm64)

package rawfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastWords is what a dying child has printed of its present line. The runtime
// prints a traceback in a thousand pieces and more: written one by one, with the
// limit off and on around each, they take most of the time of the death.
var lastWords struct {
	fd   uintptr
	n    int
	line [1 << 9]byte
}

// writeLastWords writes what the runtime prints in a child that dies of a forbidden
// call, a line at a time.
//
//go:nosplit
//go:norace
func writeLastWords(fd uintptr, p unsafe.Pointer, n int32) {
	w := &lastWords
	if fd != w.fd { // with debug.SetCrashOutput there are two
		flushLastWords()
		w.fd = fd
	}
	for i := int32(0); i < n; i++ {
		b := *(*byte)(unsafe.Add(p, i))
		w.line[w.n&(len(w.line)-1)] = b // masked, so that no check is compiled in
		w.n++
		if b == '\n' || w.n == len(w.line) {
			flushLastWords()
		}
	}
}

// flushLastWords writes the line. The limit is off meanwhile: a write may take as
// long as its reader does.
//
//go:nosplit
//go:norace
func flushLastWords() {
	w := &lastWords
	if w.n == 0 {
		return
	}
	limitDeath(0)
	write(w.fd, unsafe.Pointer(&w.line), int32(w.n))
	w.n = 0
	limitDeath(deathLimit)
}

// deathLimit is how long a dying child may take from one line that it prints to the
// next, in seconds: far above what it needs on a loaded machine.
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
