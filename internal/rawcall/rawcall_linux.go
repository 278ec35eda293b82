package rawcall

import (
	"encoding/binary"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PidfdOpen wraps pidfd_open(2).
func PidfdOpen(pid int) (fd int, err error) {
	r, _, errno := syscall.RawSyscall(unix.SYS_PIDFD_OPEN, uintptr(pid), 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// Close wraps close(2).
func Close(fd int) { syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// WaitPidfd wraps waitid(2) with P_PIDFD, WEXITED and WNOHANG. pid is 0 when the
// process has not ended. With WNOWAIT in options it is left to be reaped. usage may be
// nil.
func WaitPidfd(fd, options int, usage *syscall.Rusage) (pid int, status syscall.WaitStatus, err error) {
	var info childInfo
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_WAITID, unix.P_PIDFD, uintptr(fd),
			uintptr(unsafe.Pointer(&info)), uintptr(options|unix.WEXITED|unix.WNOHANG), uintptr(unsafe.Pointer(usage)), 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, 0, errno
		case info.pid == 0:
			return 0, 0, nil
		}
		return int(info.pid), info.waitStatus(), nil
	}
}

// Prctl wraps prctl(2) for an option with one argument, which is an address. unix.Prctl
// takes it as a number: its callee may make the goroutine's stack grow, which moves what
// is there, and the kernel would use the old place.
func Prctl(option int, address unsafe.Pointer) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, uintptr(option), uintptr(address), 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// EpollCtl wraps epoll_ctl(2).
func EpollCtl(epoll, op, fd int, event *unix.EpollEvent) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(event)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// EpollWait is epoll_pwait(2) for so many milliseconds, as few as a program's other
// goroutines and the garbage collector can wait, too. A signal ends the wait.
func EpollWait(epoll int, events []unix.EpollEvent, ms int) (n int, err error) {
	for {
		r, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll),
			uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(ms), 0, 0)
		if errno == unix.EINTR {
			ms = 0 // what the signal stands for may be there
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(r), nil
	}
}

// Poll is ppoll(2) for so many milliseconds, as few as for [EpollWait]. A signal ends the
// wait.
func Poll(fds []unix.PollFd, ms int) (n int, err error) {
	limit := unix.NsecToTimespec(int64(ms) * int64(time.Millisecond))
	r, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)),
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// Accept wraps accept4(2) with SOCK_CLOEXEC for a non-blocking listener, and says who
// the peer is.
func Accept(listener int, peer *unix.RawSockaddrAny) (fd int, err error) {
	size := uint32(unsafe.Sizeof(*peer))
	r, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener),
		uintptr(unsafe.Pointer(peer)), uintptr(unsafe.Pointer(&size)), unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// SendFD sends a byte and a descriptor by sendmsg(2). EAGAIN says that the socket is
// full.
func SendFD(socket, fd int) error {
	type rights struct { // a control message that carries one descriptor
		header unix.Cmsghdr
		fd     int32
	}
	control := rights{unix.Cmsghdr{Level: unix.SOL_SOCKET, Type: unix.SCM_RIGHTS}, int32(fd)}
	control.header.SetLen(unix.CmsgLen(4))
	data := [1]byte{}
	vec := unix.Iovec{Base: &data[0], Len: 1}
	msg := unix.Msghdr{Iov: &vec, Iovlen: 1, Control: (*byte)(unsafe.Pointer(&control))}
	msg.SetControllen(unix.CmsgLen(4))
	for {
		_, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(socket), uintptr(unsafe.Pointer(&msg)),
			unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// SetTimer has a timerfd become readable in d, which is above 0.
func SetTimer(fd int, d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	syscall.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(fd), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// Add adds to an eventfd, which becomes readable.
func Add(fd int) {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), uintptr(len(one)))
}

// Drain reads a non-blocking timerfd or eventfd, which isn't readable then.
func Drain(fd int) {
	var count [8]byte
	syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&count)), uintptr(len(count)))
}

// File is a file, which no other one is as long as it is open.
type File struct{ device, inode uint64 }

// FileOf wraps fstat(2).
func FileOf(fd int) (File, error) {
	var stat syscall.Stat_t
	_, _, errno := syscall.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(&stat)), 0)
	if errno != 0 {
		return File{}, errno
	}
	return File{uint64(stat.Dev), stat.Ino}, nil
}
