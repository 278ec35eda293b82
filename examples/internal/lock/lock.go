//go:build unix

// Package lock locks files in the two ways that Unix has.
package lock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/child"
)

// Lock is a way to lock a file: the system call, and its second argument.
type Lock struct {
	Name                     string
	call, take, try, release uintptr
}

var (
	// None locks nothing.
	None = &Lock{Name: "no lock:"}
	// Flock is flock(2). The lock belongs to the open file description, so
	// processes that share one don't keep each other out.
	Flock = &Lock{"flock:  ", unix.SYS_FLOCK, unix.LOCK_EX, unix.LOCK_EX | unix.LOCK_NB, unix.LOCK_UN}
	// Fcntl is a record lock of fcntl(2) on all of the file. It belongs to the
	// process.
	Fcntl = &Lock{"fcntl:  ", unix.SYS_FCNTL, unix.F_SETLKW, unix.F_SETLK, unix.F_SETLK}

	// The third argument of fcntl. flock has none.
	whole   = &unix.Flock_t{Type: unix.F_WRLCK}
	nothing = &unix.Flock_t{Type: unix.F_UNLCK}
)

// Take waits for the lock. Like all of these it may be called in a child.
//
//go:nosplit
//go:norace
func (l *Lock) Take(fd int) syscall.Errno { return l.do(fd, l.take, whole) }

// Try takes the lock, or gives EAGAIN when somebody has it.
//
//go:nosplit
//go:norace
func (l *Lock) Try(fd int) syscall.Errno { return l.do(fd, l.try, whole) }

// Release gives the lock back.
//
//go:nosplit
//go:norace
func (l *Lock) Release(fd int) syscall.Errno { return l.do(fd, l.release, nothing) }

//go:nosplit
//go:norace
func (l *Lock) do(fd int, how uintptr, part *unix.Flock_t) (errno syscall.Errno) {
	if l != None {
		_, errno = child.Syscall(l.call, uintptr(fd), how, uintptr(unsafe.Pointer(part)), 0, 0, 0)
	}
	return errno
}
