//go:build cgo && (amd64 || arm64)

package rawfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A child that dies of a forbidden call prints the traceback under the runtime's
// print lock. Had another thread of the parent held that lock at the fork (by
// println, or GODEBUG=gctrace=1), nobody would ever release the child's copy: it
// would hang instead of dying. The lock can't be named from outside of the
// runtime, but whoever prints holds it. So the fork happens inside a print: of
// forkToken, which overrideWrite takes for the order to fork. The child then owns
// its lock, and leaves it as the print returns.

// forkToken is printed to fork. It is known by its address, so nothing else that
// is printed can be taken for it: it has to be a variable of its own, since the
// runtime makes all strings of one byte out of a table that everybody shares.
var forkToken [1]byte

// forked is what fork returned. It is guarded by ForkLock.
var forked struct {
	done bool
	pid  int
}

// writeBefore is the hook that another package set before this one.
var writeBefore func(fd uintptr, p unsafe.Pointer, n int32) int32

func init() {
	writeBefore = overrideWrite
	overrideWrite = forkOrWrite
}

// forkWithPrintLock is fork, called with the runtime's print lock held.
//
//go:norace
func forkWithPrintLock() int {
	forked.done = false
	print(unsafe.String(&forkToken[0], len(forkToken)))
	if !forked.done {
		// The hook is gone: some other package took it. Fork all the same.
		forked.pid = fork()
	}
	pid := forked.pid
	if pid == 0 {
		arm()
	}
	return pid
}

// forkOrWrite stands in for the runtime's write. It may be called on any stack,
// without a P, and in the child, so it must not split the stack, but to fork.
//
//go:nosplit
//go:norace
func forkOrWrite(fd uintptr, p unsafe.Pointer, n int32) int32 {
	if p == unsafe.Pointer(&forkToken) {
		forkForToken()
		return n
	}
	if !inChild() {
		return write(fd, p, n)
	}
	writeLastWords(fd, p, n) // nothing else prints there
	return n
}

// write is the runtime's own write, or what another package has put in its place.
//
//go:nosplit
//go:norace
func write(fd uintptr, p unsafe.Pointer, n int32) int32 {
	if writeBefore != nil {
		return writeBefore(fd, p, n)
	}
	r, _, errno := syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(p), uintptr(n))
	if errno != 0 {
		return -int32(errno)
	}
	return int32(r)
}

// inChild tells whether this process is a child of Fork.
//
//go:nosplit
//go:norace
func inChild() bool { return forked.done && forked.pid == 0 }

// forkForToken checks the stack, once, for all that fork calls.
//
//go:noinline
//go:norace
func forkForToken() {
	forked.pid = fork()
	forked.done = true
}
