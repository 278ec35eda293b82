package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Accept wraps accept4(2) and returns the new connection's descriptor, which is
// the caller's to close. flags is 0 or made of SOCK_CLOEXEC and SOCK_NONBLOCK.
// ECONNABORTED says that the client was gone before it was accepted: accept
// again.
//
//go:nosplit
//go:norace
func Accept(listener, flags int) (fd int, errno syscall.Errno) {
	for {
		r, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, uintptr(flags), 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno = again(errno, listener, unix.POLLIN); errno != 0 {
			return -1, errno
		}
	}
}

// rights is a control message that carries one descriptor.
type rights struct {
	header unix.Cmsghdr
	fd     int32
	_      int32 // CMSG_SPACE rounds up; CMSG_LEN, which is sent, doesn't
}

// rightsLen is CMSG_LEN(sizeof(int)): room for one descriptor, not for two.
const rightsLen = unsafe.Offsetof(rights{}.fd) + unsafe.Sizeof(rights{}.fd)

// SendFD sends data, at least one byte, and with it the descriptor fd over the
// Unix socket sock, by sendmsg(2) and SCM_RIGHTS. fd stays open here. The bytes
// are sent by one call, so on a stream socket that is not emptied n may be below
// len(data). A peer that is gone gives EPIPE, not SIGPIPE.
//
//go:nosplit
//go:norace
func SendFD(sock, fd int, data []byte) (n int, errno syscall.Errno) {
	if len(data) == 0 {
		return -1, syscall.EINVAL // a stream socket would send nothing at all
	}
	// On this function's stack and written here: a pointer that is stored through
	// a pointer would call the collector's write barrier.
	control := rights{fd: int32(fd)}
	control.header.Level, control.header.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	control.header.Len = uint64(rightsLen)
	vec := unix.Iovec{Base: unsafe.SliceData(data), Len: uint64(len(data))}
	msg := unix.Msghdr{Iov: &vec, Iovlen: 1,
		Control: (*byte)(unsafe.Pointer(&control)), Controllen: uint64(rightsLen)}
	for {
		r, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(sock),
			uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL)
		if errno == 0 {
			return int(r), 0
		}
		if errno = again(errno, sock, unix.POLLOUT); errno != 0 {
			return -1, errno
		}
	}
}

// RecvFD receives up to len(data) bytes, and the descriptor that came with them,
// by recvmsg(2). fd is close-on-exec and the caller's to close; it is -1 when no
// descriptor came. Of several descriptors in one message it takes the first, the
// kernel closes the others. n is 0 when the peer has closed.
//
//go:nosplit
//go:norace
func RecvFD(sock int, data []byte) (n, fd int, errno syscall.Errno) {
	for {
		var control rights
		vec := unix.Iovec{Base: unsafe.SliceData(data), Len: uint64(len(data))}
		msg := unix.Msghdr{Iov: &vec, Iovlen: 1,
			Control: (*byte)(unsafe.Pointer(&control)), Controllen: uint64(rightsLen)}
		r, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(sock),
			uintptr(unsafe.Pointer(&msg)), unix.MSG_CMSG_CLOEXEC)
		if errno == 0 {
			if msg.Controllen < uint64(rightsLen) || control.header.Type != unix.SCM_RIGHTS {
				return int(r), -1, 0
			}
			return int(r), int(control.fd), 0
		}
		if errno = again(errno, sock, unix.POLLIN); errno != 0 {
			return -1, -1, errno
		}
	}
}
