//go:build cgo && (amd64 || arm64)

package rawfork

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Fork wraps fork(2): it returns twice, with the child's pid in the parent and
// with 0 in the child. On failure it returns an error in the parent only and
// there is no child; errors.Is finds the errno: EAGAIN at a limit on processes,
// ENOMEM when the kernel can't promise memory for the copy, or in a pid namespace
// whose init has ended. RLIMIT_AS doesn't make Fork fail: it limits how a process
// grows, and the copy is no larger.
//
// The child is a copy of the calling process with one thread, the one that
// called Fork. Go's signal handlers are back at their default actions, the
// signal mask is the caller's, all descriptors are open, close-on-exec or not.
// No other goroutine runs there, and none ever will: the child may only call
// functions of package child, functions marked go:nosplit, and C functions that
// are async-signal-safe. It ends by [child.Exit], by [child.Exec] or by a
// signal. Any other call finds the stack guard poisoned and dies at once with
// exit status 2, "fatal error: stack growth after fork" and a traceback that
// names the function. CAVEATS.md lists what the guard can't see.
//
// A function that forks may return in the child, to a caller that goes on in two
// processes. With a defer in it, the deferred function runs there too, or the
// return dies as a forbidden call, as the compiler decides: better have none. In
// a program built with -race, functions of one's own that run in the child are
// marked go:norace as well, and call nothing of sync/atomic: else they call the
// race detector, whose locks another thread may have held at the fork.
//
// Fork holds [syscall.ForkLock] while it forks, so that descriptors that other
// goroutines are just making close-on-exec don't leak into an exec'd child.
// Whoever forks must reap: see [Wait].
//
// Precondition: none as to the thread. The goroutine keeps its thread and its P
// for the time of the fork, which grows with the resident memory; a garbage
// collection that wants to stop the world waits that long. It must not hold
// ForkLock. C libraries' atfork handlers don't run, and handlers that C code has
// installed for signals stay.
//
//go:noinline
//go:norace
func Fork() (pid int, err error) {
	syscall.ForkLock.Lock()
	pid = forkWithPrintLock()
	if pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		return 0, nil
	}
	syscall.ForkLock.Unlock()
	if pid < 0 {
		return -1, os.NewSyscallError("fork", syscall.Errno(-pid))
	}
	return pid, nil
}

// fork forks with the runtime held still and returns the pid, 0, or -errno. In
// the child the runtime can't preempt this goroutine any more, and the guard is
// not armed yet: see arm.
//
//go:nosplit
//go:norace
func fork() int {
	beforeFork()
	pid := int(asmcgocall(cfork, nil))
	if pid != 0 {
		afterFork()
		return pid
	}
	afterForkInChild()
	// The poison of the first beforeFork may be there or not (see arm). Have it
	// gone, and keep the first beforeFork's hold on the goroutine.
	beforeFork()
	afterFork()
	return 0
}

// arm poisons the stack guard of the child, for good.
//
// The poison of the beforeFork in fork doesn't last: a preemption request in the
// parent, between beforeFork and the copy, overwrites it, and the next stack
// check would quietly put the normal guard back. The child has one thread, so
// nobody overwrites this one. beforeFork also blocks all signals: the mask is put
// back as it was.
//
//go:nosplit
//go:norace
func arm() {
	var mask uint64
	sigprocmask(nil, &mask)
	beforeFork()
	sigprocmask(&mask, nil)
}

// sigprocmask wraps rt_sigprocmask(2) with SIG_SETMASK. A nil pointer leaves
// that side out. It can't fail with these arguments.
//
//go:nosplit
//go:norace
func sigprocmask(set, old *uint64) {
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(*set), 0, 0)
}
