//go:build amd64 || arm64

package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Accept wraps accept4(2) and returns the new connection's descriptor, which is
// the caller's to close. flags is 0 or made of SOCK_CLOEXEC and SOCK_NONBLOCK.
// ECONNABORTED says that the client was gone before it was accepted: accept
// again. EMFILE and ENFILE leave the client in the queue.
//
//go:nosplit
//go:norace
func Accept(listener, flags int) (fd int, errno syscall.Errno) {
	return call(unix.SYS_ACCEPT4, listener, 0, 0, uintptr(flags), unix.POLLIN)
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
// len(data); the descriptor goes with the first of them. A peer that is gone
// gives EPIPE (or ECONNRESET, once, when it left data unread), not SIGPIPE. n is
// -1 with an errno: EINVAL for no data, EBADF for either descriptor.
//
//go:nosplit
//go:norace
func SendFD(sock, fd int, data []byte) (n int, errno syscall.Errno) {
	if len(data) == 0 {
		return -1, syscall.EINVAL // a stream socket would send nothing at all
	}
	// On this function's stack and written here, field by field: a pointer that
	// is stored through a pointer would call the collector's write barrier.
	var control rights
	var vec unix.Iovec
	var msg unix.Msghdr
	control.header.Level, control.header.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	control.header.Len, control.fd = uint64(rightsLen), int32(fd)
	vec.Base, vec.Len = unsafe.SliceData(data), uint64(len(data))
	msg.Iov, msg.Iovlen = &vec, 1
	msg.Control, msg.Controllen = (*byte)(unsafe.Pointer(&control)), uint64(rightsLen)
	return call(unix.SYS_SENDMSG, sock, uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL, 0, unix.POLLOUT)
}

// RecvFD receives up to len(data) bytes, at least one, and the descriptor that
// came with them, by recvmsg(2). fd is close-on-exec and the caller's to close; it
// is -1 when no descriptor came. Of several descriptors in one message it takes
// the first, the kernel closes the others. n is 0 when the peer has closed, and
// -1 with an errno, but for EMFILE: n bytes were received, and the descriptor
// that came with them is lost, since this process may open no more of them (or,
// on a socket with SO_PASSCRED, since the credentials took its room).
//
//go:nosplit
//go:norace
func RecvFD(sock int, data []byte) (n, fd int, errno syscall.Errno) {
	if len(data) == 0 {
		return -1, -1, syscall.EINVAL // 0 bytes would look like the peer's end
	}
	var control rights
	var vec unix.Iovec
	var msg unix.Msghdr
	vec.Base, vec.Len = unsafe.SliceData(data), uint64(len(data))
	msg.Iov, msg.Iovlen = &vec, 1
	msg.Control, msg.Controllen = (*byte)(unsafe.Pointer(&control)), uint64(rightsLen)
	n, errno = call(unix.SYS_RECVMSG, sock, uintptr(unsafe.Pointer(&msg)), unix.MSG_CMSG_CLOEXEC, 0, unix.POLLIN)
	switch {
	case errno != 0:
		return n, -1, errno
	case msg.Controllen >= uint64(rightsLen) && control.header.Type == unix.SCM_RIGHTS:
		return n, int(control.fd), 0
	case msg.Flags&unix.MSG_CTRUNC != 0:
		return n, -1, syscall.EMFILE
	}
	return n, -1, 0
}
