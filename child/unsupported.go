//go:build !(linux && (amd64 || arm64))

package child

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Where there is no fork there is no child: these are here so that programs
// build. They give ENOSYS, which errors.Is takes for errors.ErrUnsupported, and
// otherwise what the real ones return with an errno.

const none = syscall.ENOSYS

// Image is a program to exec: there is none here.
type Image struct{}

// PrepareImage always returns [errors.ErrUnsupported] here.
func PrepareImage(path string, argv, env []string) (*Image, error) {
	return nil, fmt.Errorf("image %s: %w", path, errors.ErrUnsupported)
}

// PrepareString always returns [errors.ErrUnsupported] here.
func PrepareString(s string) (*byte, error) {
	return nil, fmt.Errorf("string %q: %w", s, errors.ErrUnsupported)
}

// Exit panics: only a child may call it, and there is none.
func Exit(code int) { panic("child.Exit outside of a child") }

// Exec wraps execve(2) on linux; ENOSYS here.
func Exec(image *Image) syscall.Errno { return none }

// Fork wraps fork(2) on linux; ENOSYS here.
func Fork() (pid int, errno syscall.Errno) { return -1, none }

// Wait4 wraps wait4(2) on linux; ENOSYS here.
func Wait4(pid, options int) (wpid int, status syscall.WaitStatus, errno syscall.Errno) {
	return -1, status, none
}

// Getpid wraps getpid(2) on linux; -1 here.
func Getpid() int { return -1 }

// Getppid wraps getppid(2) on linux; -1 here.
func Getppid() int { return -1 }

// Setsid wraps setsid(2) on linux; ENOSYS here.
func Setsid() (sid int, errno syscall.Errno) { return -1, none }

// Setpgid wraps setpgid(2) on linux; ENOSYS here.
func Setpgid(pid, pgid int) syscall.Errno { return none }

// Kill wraps kill(2) on linux; ENOSYS here.
func Kill(pid int, sig syscall.Signal) syscall.Errno { return none }

// Prctl wraps prctl(2) on linux; ENOSYS here.
func Prctl(option int, arg2, arg3, arg4, arg5 uintptr) (r int, errno syscall.Errno) {
	return -1, none
}

// Umask wraps umask(2) on linux; -1 here.
func Umask(mask int) (old int) { return -1 }

// Chdir wraps chdir(2) on linux; ENOSYS here.
func Chdir(path *byte) syscall.Errno { return none }

// Sleep wraps nanosleep(2) on linux; it returns at once here.
func Sleep(d time.Duration) {}

// Pause wraps pause(2) on linux; it returns at once here.
func Pause() {}

// Syscall wraps syscall(2) on linux; ENOSYS here.
func Syscall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r uintptr, errno syscall.Errno) {
	return ^uintptr(0), none
}

// Read wraps read(2) on linux; ENOSYS here.
func Read(fd int, b []byte) (n int, errno syscall.Errno) { return -1, none }

// ReadFull is [Read] until b is full on linux; ENOSYS here.
func ReadFull(fd int, b []byte) (n int, errno syscall.Errno) { return 0, none }

// Write wraps write(2) on linux; ENOSYS here.
func Write(fd int, b []byte) (n int, errno syscall.Errno) { return 0, none }

// WriteString is [Write] for a string on linux; ENOSYS here.
func WriteString(fd int, s string) (n int, errno syscall.Errno) { return 0, none }

// WriteInt writes v in decimal digits on linux; ENOSYS here.
func WriteInt(fd int, v int) (n int, errno syscall.Errno) { return 0, none }

// Poll wraps poll(2) on linux; ENOSYS here.
func Poll(fds []PollFd, timeout time.Duration) (n int, errno syscall.Errno) { return -1, none }

// Close wraps close(2) on linux; ENOSYS here.
func Close(fd int) syscall.Errno { return none }

// CloseRange wraps close_range(2) on linux; ENOSYS here.
func CloseRange(first, last, flags uint) syscall.Errno { return none }

// KeepOnly closes all descriptors but fds on linux; ENOSYS here.
func KeepOnly(fds ...int) syscall.Errno { return none }

// Dup3 wraps dup3(2) on linux; ENOSYS here.
func Dup3(oldfd, newfd, flags int) syscall.Errno { return none }

// SetNonblock sets or clears O_NONBLOCK on linux; ENOSYS here.
func SetNonblock(fd int, nonblocking bool) syscall.Errno { return none }

// Accept wraps accept4(2) on linux; ENOSYS here.
func Accept(listener, flags int) (fd int, errno syscall.Errno) { return -1, none }

// SendFD sends a descriptor by sendmsg(2) on linux; ENOSYS here.
func SendFD(sock, fd int, data []byte) (n int, errno syscall.Errno) { return -1, none }

// RecvFD receives a descriptor by recvmsg(2) on linux; ENOSYS here.
func RecvFD(sock int, data []byte) (n, fd int, errno syscall.Errno) { return -1, -1, none }

// Echo sends back what it reads from fd on linux; it does nothing here.
func Echo(fd int) {}

// Discard reads fd to its end on linux; it does nothing here.
func Discard(fd int) {}

// Copy copies src to dst on linux; ENOSYS here.
func Copy(dst, src int) (written int64, errno syscall.Errno) { return 0, none }

// write is for Line, which is the same everywhere.
func write(fd int, p uintptr, n int) (written int, errno syscall.Errno) { return 0, none }
