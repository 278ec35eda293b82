//go:build amd64 || arm64

package child

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exit wraps exit_group(2): the child ends with the low 8 bits of code as its
// exit status. It never returns. Nothing is flushed, no deferred function runs,
// no coverage counter is written: it is _exit, not exit.
//
//go:nosplit
//go:norace
func Exit(code int) {
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, uintptr(code), 0, 0, 0, 0, 0)
	}
}

// Fork wraps fork(2) for a child that forks again: it returns the grandchild's
// pid, and 0 in the grandchild, to which all rules of the child apply, or -1 with
// an errno. Whoever forks must reap: see [Wait4]. It is a bare clone(2) without
// libc's atfork handlers; that is safe here, where the caller is the only thread
// and no libc code runs. libc's thread id stays right in the grandchild, should C
// code run there.
//
//go:nosplit
//go:norace
func Fork() (pid int, errno syscall.Errno) {
	var tid uintptr // where libc keeps the thread's id; 0 where the kernel can't say
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_GET_TID_ADDRESS, uintptr(unsafe.Pointer(&tid)), 0, 0, 0, 0)
	flags := uintptr(unix.SIGCHLD)
	if tid != 0 {
		flags |= unix.CLONE_CHILD_SETTID | unix.CLONE_CHILD_CLEARTID
	}
	return clone(flags, tid)
}

// Wait4 wraps wait4(2) without rusage: it reaps a child of the child and returns
// its pid and status. pid and options are those of wait4(2). wpid is 0 when
// WNOHANG found none that ended, and -1 with an errno: ECHILD when there is no
// such child.
//
//go:nosplit
//go:norace
func Wait4(pid, options int) (wpid int, status syscall.WaitStatus, errno syscall.Errno) {
	for {
		r, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, uintptr(pid),
			uintptr(unsafe.Pointer(&status)), uintptr(options), 0, 0, 0)
		if errno == 0 {
			return int(r), status, 0
		}
		if errno != syscall.EINTR {
			return -1, 0, errno
		}
	}
}

// Getpid wraps getpid(2). It asks the kernel, as libc's answer once did not.
//
//go:nosplit
//go:norace
func Getpid() int {
	r, _, _ := syscall.RawSyscall6(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	return int(r)
}

// Getppid wraps getppid(2): the parent's pid, or the pid of init or of the
// nearest subreaper once the parent is gone, or 0 if that one is in an outer
// pid namespace. It is no way to find out that the parent died: a descriptor
// whose other end only the parent holds is.
//
//go:nosplit
//go:norace
func Getppid() int {
	r, _, _ := syscall.RawSyscall6(unix.SYS_GETPPID, 0, 0, 0, 0, 0, 0)
	return int(r)
}

// Setsid wraps setsid(2) and returns the new session's id. EPERM says that the
// child leads a process group already.
//
//go:nosplit
//go:norace
func Setsid() (sid int, errno syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(unix.SYS_SETSID, 0, 0, 0, 0, 0, 0)
	return result(r, errno)
}

// Setpgid wraps setpgid(2). A pid of 0 is the caller, a pgid of 0 the pid.
//
//go:nosplit
//go:norace
func Setpgid(pid, pgid int) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_SETPGID, uintptr(pid), uintptr(pgid), 0, 0, 0, 0)
	return errno
}

// Kill wraps kill(2). A sig of 0 only asks whether pid may be signalled: ESRCH
// says that there is no such process, EPERM that it is another user's.
//
//go:nosplit
//go:norace
func Kill(pid int, sig syscall.Signal) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_KILL, uintptr(pid), uintptr(sig), 0, 0, 0, 0)
	return errno
}

// Prctl wraps prctl(2). For pointers among the arguments see [Syscall].
//
//go:nosplit
//go:norace
func Prctl(option int, arg2, arg3, arg4, arg5 uintptr) (r int, errno syscall.Errno) {
	r1, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, uintptr(option), arg2, arg3, arg4, arg5, 0)
	return result(r1, errno)
}

// Umask wraps umask(2) and returns the mask that was in force.
//
//go:nosplit
//go:norace
func Umask(mask int) (old int) {
	r, _, _ := syscall.RawSyscall6(unix.SYS_UMASK, uintptr(mask), 0, 0, 0, 0, 0)
	return int(r)
}

// Chdir wraps chdir(2). The path is made by [PrepareString]; nil gives EFAULT.
//
//go:nosplit
//go:norace
func Chdir(path *byte) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_CHDIR, uintptr(unsafe.Pointer(path)), 0, 0, 0, 0, 0)
	return errno
}

// Sleep wraps nanosleep(2). It sleeps for all of d, also when the child is
// stopped and continued or handles signals on the way; a negative d is 0.
//
//go:nosplit
//go:norace
func Sleep(d time.Duration) {
	if d < 0 {
		d = 0
	}
	// The kernel writes what is left of the time over what was asked for.
	left := unix.Timespec{Sec: int64(d / time.Second), Nsec: int64(d % time.Second)}
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_NANOSLEEP,
			uintptr(unsafe.Pointer(&left)), uintptr(unsafe.Pointer(&left)), 0, 0, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}

// Pause wraps pause(2): it returns when a signal was handled, which in a child
// with default actions means never: a signal ends the child, stops it, or does
// nothing.
//
//go:nosplit
//go:norace
func Pause() {
	// pause(2) is not there on every architecture; an endless ppoll(2) is.
	syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
}

// Syscall wraps syscall(2), for the calls that have no function of their own. r
// is what the kernel returned, and ^uintptr(0) with an errno. It makes the call
// once, also after EINTR and EAGAIN.
//
// Pointers among the arguments must be to memory that was made before the fork
// and is still referred to: the compiler doesn't know that it is in use.
//
//go:nosplit
//go:norace
func Syscall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r uintptr, errno syscall.Errno) {
	r, _, errno = syscall.RawSyscall6(trap, a1, a2, a3, a4, a5, a6)
	return r, errno
}

// result gives a failed call the customary -1.
//
//go:nosplit
//go:norace
func result(r uintptr, errno syscall.Errno) (int, syscall.Errno) {
	if errno != 0 {
		return -1, errno
	}
	return int(r), 0
}
