//go:build amd64 || arm64

package probe

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/child"
)

// This file is the child. Every function here runs after the fork and keeps to
// package child, to nosplit code and to memory that was made before.

// highFd is the lowest number for the descriptors of the probe's own: below it,
// parent and child see the numbers that they would see without a probe.
const highFd = 512

// exitBroken is the child's exit status when its socket fails it.
const exitBroken = 125

// static is the memory of the child's loop. It is noptr bss: until a child
// writes to it, it costs nothing, and a store to it needs no write barrier. The
// parent never writes to it, so it needs no lock there either.
var static struct {
	request request
	reply   reply
	msg     msghdr
	iov     [2]region // struct iovec is an address and a length
	poll    [1]child.PollFd
	control struct {
		header unix.Cmsghdr
		fd     int32
		_      int32
	}
	_       [8]byte
	scratch [maxData]byte
}

// msghdr is struct msghdr with addresses in place of pointers.
type msghdr struct {
	name       uintptr
	namelen    uint32
	_          uint32
	iov        uintptr
	iovlen     uintptr
	control    uintptr
	controllen uintptr
	flags      int32
	_          uint32
}

// serve answers the requests that come by sock until the other end closes. It
// never returns. closing are the descriptors that belong to the parent's side.
//
//go:nosplit
//go:norace
func serve(sock int, closing []int) {
	for _, fd := range closing {
		child.Close(fd)
	}
	hello(sock)
	for {
		answer(sock)
		passed, errno := receive(sock)
		sock = act(sock, passed, errno)
	}
}

// act does what the request in static asks for and leaves the answer there. It
// returns the socket to go on with: in a grandchild that is the passed one.
//
//go:nosplit
//go:norace
func act(sock, passed int, errno syscall.Errno) int {
	q, result, forked := &static.request, uintptr(0), false
	if errno == 0 {
		errno = copyIn()
	}
	if errno == 0 && q.op >= opFork {
		errno = wanted(passed)
	}
	if errno == 0 {
		switch q.op {
		case opSyscall:
			result, errno = call(q)
		case opFork:
			pid, e := child.Fork()
			result, errno = uintptr(pid), e
			forked = pid == 0
		case opClone, opCloneFiles:
			result, errno = call(q)
			forked = result == 0 && errno == 0
		}
	}
	if forked {
		if q.op != opCloneFiles {
			child.Close(sock)
		}
		hello(passed)
		return passed
	}
	if passed >= 0 && q.op != opCloneFiles {
		child.Close(passed)
	}
	if errno != 0 {
		result = ^uintptr(0)
	}
	static.reply.seq, static.reply.result, static.reply.errno = q.seq, result, uintptr(errno)
	return sock
}

// wanted is ECANCELED for a grandchild that nobody waits for any more: the other
// end of the socket that was passed for it is closed.
//
//go:nosplit
//go:norace
func wanted(passed int) syscall.Errno {
	static.poll[0] = child.PollFd{Fd: int32(passed)}
	n, errno := child.Poll(static.poll[:], 0)
	if n > 0 {
		return syscall.ECANCELED
	}
	return errno
}

//go:nosplit
//go:norace
func call(q *request) (uintptr, syscall.Errno) {
	return child.Syscall(q.trap, q.args[0], q.args[1], q.args[2], q.args[3], q.args[4], q.args[5])
}

// hello makes the first message of a new child: its descriptor of the probe.
//
//go:nosplit
//go:norace
func hello(sock int) {
	static.reply.seq, static.reply.result, static.reply.errno = 0, uintptr(sock), 0
	static.request.out.len = 0
}

// receive waits for a request and takes it into static: its header to request,
// the rest to scratch. It returns the descriptor that came along, or -1.
//
//go:nosplit
//go:norace
func receive(sock int) (passed int, errno syscall.Errno) {
	s := &static
	message(uintptr(unsafe.Pointer(&s.request)), requestSize,
		uintptr(unsafe.Pointer(&s.scratch)), maxData)
	s.msg.control = uintptr(unsafe.Pointer(&s.control))
	s.msg.controllen = unsafe.Offsetof(s.control.fd) + unsafe.Sizeof(s.control.fd)
	s.control.header.Type = 0
	n, errno := transfer(unix.SYS_RECVMSG, sock, unix.MSG_CMSG_CLOEXEC)
	if n == 0 || errno != 0 {
		child.Exit(0) // the parent's end is closed
	}
	passed = -1
	if s.control.header.Type == unix.SCM_RIGHTS {
		passed = raise(int(s.control.fd))
	}
	if errno = s.request.check(n); s.msg.flags&unix.MSG_TRUNC != 0 {
		errno = syscall.EMSGSIZE
	}
	if errno != 0 { // nothing in this header is to be believed
		s.request = request{}
		return passed, errno
	}
	if needs := s.request.op >= opFork; needs && passed < 0 {
		s.request.out.len = 0
		return passed, syscall.EBADMSG
	}
	return passed, 0
}

// raise moves fd to a number from highFd on, when there is one.
//
//go:nosplit
//go:norace
func raise(fd int) int {
	r, errno := child.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_DUPFD_CLOEXEC, highFd, 0, 0, 0)
	if errno != 0 {
		return fd
	}
	child.Close(fd)
	return int(r)
}

// copyIn moves the bytes that came with the request from scratch to where they
// belong. The kernel does it, so a bad address is EFAULT and not SIGSEGV. The
// write is an ordinary one: it needs a writable page and breaks copy-on-write.
//
//go:nosplit
//go:norace
func copyIn() syscall.Errno {
	s := &static
	scratch := uintptr(unsafe.Pointer(&s.scratch))
	if s.request.in.len == 0 || s.request.in.addr == scratch {
		return 0
	}
	s.iov[0] = region{scratch, s.request.in.len}
	s.iov[1] = s.request.in
	n, errno := child.Syscall(unix.SYS_PROCESS_VM_WRITEV, uintptr(child.Getpid()),
		uintptr(unsafe.Pointer(&s.iov[0])), 1, uintptr(unsafe.Pointer(&s.iov[1])), 1, 0)
	if errno == 0 && n < s.request.in.len {
		errno = syscall.EFAULT
	}
	if errno != 0 {
		s.request.out.len = 0
	}
	return errno
}

// answer sends the reply, and with it what is at request.out. The kernel reads
// that memory: where it can't, the reply is EFAULT. (process_vm_readv would
// give a page that is still shared copy-on-write a copy of its own.)
//
//go:nosplit
//go:norace
func answer(sock int) {
	s := &static
	for {
		message(uintptr(unsafe.Pointer(&s.reply)), replySize, s.request.out.addr, s.request.out.len)
		_, errno := transfer(unix.SYS_SENDMSG, sock, unix.MSG_NOSIGNAL)
		switch {
		case errno == 0:
			return
		case errno == syscall.EPIPE, errno == syscall.ECONNRESET:
			child.Exit(0) // the parent's end is closed
		case s.request.out.len == 0:
			child.Exit(exitBroken)
		}
		s.reply.result, s.reply.errno = ^uintptr(0), uintptr(errno)
		s.request.out.len = 0
	}
}

// message sets up msg for a header and the data after it.
//
//go:nosplit
//go:norace
func message(header, headerLen, data, dataLen uintptr) {
	s := &static
	s.iov[0] = region{header, headerLen}
	s.iov[1] = region{data, dataLen}
	s.msg = msghdr{iov: uintptr(unsafe.Pointer(&s.iov)), iovlen: 2}
	if dataLen == 0 {
		s.msg.iovlen = 1 // the address may be any
	}
}

// transfer sends or receives msg, again when a signal was handled meanwhile.
//
//go:nosplit
//go:norace
func transfer(trap uintptr, sock int, flags uintptr) (uintptr, syscall.Errno) {
	for {
		n, errno := child.Syscall(trap, uintptr(sock), uintptr(unsafe.Pointer(&static.msg)), flags, 0, 0, 0)
		if errno != syscall.EINTR {
			return n, errno
		}
	}
}
