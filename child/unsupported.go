//go:build !linux

package child

import (
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// Where there is no fork there is no child: the functions are here so that
// programs build, and give ENOSYS, which errors.Is takes for ErrUnsupported.

const none = syscall.ENOSYS

type Image struct{}

func PrepareImage(path string, argv, env []string) (*Image, error) {
	return nil, fmt.Errorf("image %s: %w", path, errors.ErrUnsupported)
}

func PrepareString(s string) (*byte, error) {
	return nil, fmt.Errorf("string %q: %w", s, errors.ErrUnsupported)
}

func Exit(code int)                                                 { panic("child.Exit outside of a child") }
func Exec(image *Image) syscall.Errno                               { return none }
func Fork() (pid int, errno syscall.Errno)                          { return -1, none }
func Getpid() int                                                   { return -1 }
func Getppid() int                                                  { return -1 }
func Setsid() (sid int, errno syscall.Errno)                        { return -1, none }
func Setpgid(pid, pgid int) syscall.Errno                           { return none }
func Kill(pid int, sig syscall.Signal) syscall.Errno                { return none }
func Umask(mask int) (old int)                                      { return -1 }
func Chdir(path *byte) syscall.Errno                                { return none }
func Sleep(d time.Duration)                                         {}
func Pause()                                                        {}
func Read(fd int, b []byte) (n int, errno syscall.Errno)            { return -1, none }
func ReadFull(fd int, b []byte) (n int, errno syscall.Errno)        { return 0, none }
func Write(fd int, b []byte) (n int, errno syscall.Errno)           { return 0, none }
func WriteString(fd int, s string) (n int, errno syscall.Errno)     { return 0, none }
func WriteInt(fd int, v int) (n int, errno syscall.Errno)           { return 0, none }
func Poll(fds []PollFd, timeout time.Duration) (int, syscall.Errno) { return -1, none }
func Close(fd int) syscall.Errno                                    { return none }
func CloseRange(first, last, flags uint) syscall.Errno              { return none }
func KeepOnly(fds ...int) syscall.Errno                             { return none }
func Dup3(oldfd, newfd, flags int) syscall.Errno                    { return none }
func SetNonblock(fd int, nonblocking bool) syscall.Errno            { return none }
func Accept(listener, flags int) (fd int, errno syscall.Errno)      { return -1, none }
func SendFD(sock, fd int, data []byte) (n int, errno syscall.Errno) { return -1, none }
func RecvFD(sock int, data []byte) (n, fd int, errno syscall.Errno) { return -1, -1, none }
func Echo(fd int)                                                   {}
func Discard(fd int)                                                {}
func Copy(dst, src int) (written int64, errno syscall.Errno)        { return 0, none }

func Wait4(pid, options int) (wpid int, status syscall.WaitStatus, errno syscall.Errno) {
	return -1, status, none
}

func Prctl(option int, arg2, arg3, arg4, arg5 uintptr) (r int, errno syscall.Errno) {
	return -1, none
}

func Syscall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r uintptr, errno syscall.Errno) {
	return 0, none
}

func write(fd int, p unsafe.Pointer, n int) (written int, errno syscall.Errno) { return 0, none }
