//go:build amd64 || arm64

package probe

import (
	"fmt"
	"syscall"
	"unsafe"
)

// The protocol between parent and child: one request, one reply, each a message
// on a SOCK_SEQPACKET socket. A message is a header, in the memory layout that
// both processes share, and the bytes that go in or come out.
//
// A forked child has its parent's variables at its parent's addresses. So the
// parent lays out the memory arguments of a system call and computes their
// addresses in the child: they lie in scratch. All that is left to the child is
// to copy bytes in, to make one system call, and to copy bytes out.

// maxData is how many bytes one message carries besides its header. It stays
// well below the least size of a socket's buffer.
const maxData = 64 << 10

// What a request asks for. The zero op is not valid.
const (
	opMemory     = iota + 1 // no system call: copy in, copy out
	opSyscall               // trap with args
	opFork                  // fork, with a socket for the grandchild
	opClone                 // trap with args, which forks; a socket as well
	opCloneFiles            // opClone with a descriptor table that both share
	opEnd
)

// region is memory of the child, at any address: the kernel checks it.
type region struct {
	addr, len uintptr
}

type request struct {
	seq  uintptr // the reply bears it too
	op   uintptr
	trap uintptr
	args [6]uintptr
	in   region // where the bytes after the header go
	out  region // where the bytes after the reply's header come from
}

// reply answers a request. A child's first message is a reply that nobody asked
// for: seq is 0, result the child's descriptor of the socket.
type reply struct {
	seq    uintptr
	result uintptr
	errno  uintptr
}

const (
	requestSize = unsafe.Sizeof(request{})
	replySize   = unsafe.Sizeof(reply{})
)

// check is the child's look at a request of n bytes in all, header included.
//
//go:nosplit
//go:norace
func (r *request) check(n uintptr) syscall.Errno {
	switch {
	case n < requestSize, r.in.len != n-requestSize:
		return syscall.EBADMSG
	case r.op < opMemory, r.op >= opEnd:
		return syscall.EBADMSG
	case r.in.len > maxData, r.out.len > maxData:
		return syscall.EMSGSIZE
	}
	return 0
}

// parseReply is the parent's look at a message: wantData is the length that the
// request had in out. A reply with an errno may come without data.
func parseReply(message []byte, wantSeq uintptr, wantData uintptr) (reply, []byte, error) {
	if uintptr(len(message)) < replySize {
		return reply{}, nil, fmt.Errorf("reply of %d bytes: %w", len(message), syscall.EBADMSG)
	}
	var r reply
	copy(bytesOf(&r), message)
	data := message[replySize:]
	switch {
	case r.seq != wantSeq:
		return reply{}, nil, fmt.Errorf("reply to request %d, want %d: %w", r.seq, wantSeq, syscall.EBADMSG)
	case r.errno > maxErrno:
		return reply{}, nil, fmt.Errorf("reply with errno %d: %w", r.errno, syscall.EBADMSG)
	case len(data) == 0 && r.errno != 0:
	case uintptr(len(data)) != wantData:
		return reply{}, nil, fmt.Errorf("reply with %d bytes of data, want %d: %w", len(data), wantData, syscall.EBADMSG)
	}
	return r, data, nil
}

// maxErrno is the kernel's MAX_ERRNO.
const maxErrno = 4095

// bytesOf is the memory of *p, for a T without pointers.
func bytesOf[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}
