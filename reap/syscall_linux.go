package reap

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here don't wait, so they are raw: a call that the runtime is told of may
// wake its monitor thread, and each page that a thread writes to after a fork is
// copied.

func pidfdOpen(pid int) (fd int, err error) {
	r, _, errno := syscall.RawSyscall(unix.SYS_PIDFD_OPEN, uintptr(pid), 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

func closeFD(fd int) { syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// waitid wraps waitid(2) with P_PIDFD.
func waitid(fd int, info *childInfo, options int, usage *syscall.Rusage) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_WAITID, unix.P_PIDFD, uintptr(fd),
		uintptr(unsafe.Pointer(info)), uintptr(options), uintptr(unsafe.Pointer(usage)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func epollCtl(epoll, op, fd int, event *unix.EpollEvent) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(event)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// epollReady is epoll_pwait(2) without waiting.
func epollReady(epoll int, events []unix.EpollEvent) (n int, err error) {
	r, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}
