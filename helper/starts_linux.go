//go:build cgo && (amd64 || arm64)

package helper

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// starts is the program's side of the start of programs: a socket over which they are
// asked for, and the memory in which the answer comes.
//
// A caller has it from its request to the answer, for which it waits by a futex: the
// child wakes it by its execve, and neither the helper, which the same execve wakes from
// its vfork, nor a goroutine stands in between. On a machine with two processors those two
// switches took a quarter of the time of a program's start.
type starts struct {
	told func(pid int) // gets the pid of each child, also of one that has failed

	ended atomic.Bool // nobody is left who would answer

	mu     sync.Mutex
	file   *os.File // blocking; nil once all was given back
	raw    syscall.RawConn
	memory []byte // of mapBorn
	lastID uint64
}

// newStarts takes ownership of sock, which is blocking, and of the memory of mapBorn.
func newStarts(sock int, memory []byte, told func(pid int)) *starts {
	s := &starts{told: told, file: os.NewFile(uintptr(sock), "helper"), memory: memory}
	s.raw, _ = s.file.SyscallConn() // fails for a nil file only
	return s
}

// end is for when the helper has ended, and each child of it has executed or ended, too:
// it ends the wait of the call that is under way, and gives everything back.
func (s *starts) end() {
	s.ended.Store(true)
	answers(s.memory).release()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Close()
	s.file = nil
	unix.Munmap(s.memory)
}

// A startRequest is what the helper is asked for.
type startRequest struct {
	body   []byte // of RF_EXEC
	cgroup []int  // the descriptor that comes with it, if there is one
	pidfd  bool   // the plan asks for one
	// inherit gives the RF_INHERIT that follows, and its descriptors, which stay the
	// caller's. With an error no program is started.
	inherit func() (message inherited, fds []int, err error)
}

// start has the helper start a program, and waits for its answer. With an error, a pid
// above 0 is that of a child that has ended, or is about to; with ErrEnded, of one that
// has executed or has ended.
func (s *starts) start(request *startRequest) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return noReply(ErrEnded)
	}
	s.lastID++
	if uint32(s.lastID) == 0 { // says that nobody waits
		s.lastID++
	}
	id, answer := s.lastID, answers(s.memory)
	answer.expect(id)
	if s.ended.Load() { // release may have come before expect
		return noReply(ErrEnded)
	}
	if err := sendMessage(s.sendPacket, s.cut, typeExec, id, request.body, request.cgroup); err != nil {
		return noReply(err)
	}
	failed := s.sendInherit(id, request.inherit)
	answer.await(id)
	r := answer.reply(id, s.ended.Load())
	if r.step == 0 && request.pidfd {
		r.pidfd = s.pidfd(id)
	}
	if failed != nil {
		r.step, r.err = 0, failed
	}
	if r.pid > 0 {
		s.told(r.pid)
	}
	return r
}

// sendInherit sends what follows a request. An error is what the child was cancelled for.
// That the helper has ended is none: the answer says so, or which child it had made.
func (s *starts) sendInherit(id uint64, inherit func() (inherited, []int, error)) error {
	send := func(message inherited, fds []int) error {
		body := unsafe.Slice((*byte)(unsafe.Pointer(&message)), unsafe.Sizeof(message))
		err := sendMessage(s.sendPacket, s.cut, typeInherit, id, body, fds)
		if err == ErrEnded {
			return nil
		}
		return err
	}
	message, fds, err := inherit()
	if err == nil {
		err = send(message, fds)
	}
	if err != nil && send(inherited{flags: inheritCancel}, nil) != nil {
		// The child must not wait for ever, and the helper for it.
		s.cut()
	}
	return err
}

// cut ends the connection, and by that the helper.
func (s *starts) cut() {
	s.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

func (s *starts) sendPacket(packet, rights []byte) error {
	var err error = unix.EINTR
	closed := s.raw.Control(func(fd uintptr) {
		for err == unix.EINTR {
			err = unix.Sendmsg(int(fd), packet, rights, nil, unix.MSG_NOSIGNAL)
		}
	})
	return sendError(closed, err)
}

// pidfd receives the pidfd that the child of the last request has sent before it executed.
// There may be those of children that failed afterwards. It returns -1 if there is none.
func (s *starts) pidfd(id uint64) int {
	packet, rights := make([]byte, packetRoom), make([]byte, rightsRoom)
	for {
		var n, rightsLen int
		var err error = unix.EINTR
		s.raw.Control(func(fd uintptr) {
			for err == unix.EINTR {
				n, rightsLen, _, _, err = unix.Recvmsg(int(fd), packet, rights, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			}
		})
		if err == unix.ECONNRESET {
			continue // the helper has died with something unread; what was said comes now
		}
		if err != nil || n == 0 {
			return -1
		}
		fd := takeRight(rights[:rightsLen])
		if kind, of, _, ok := parseReply(packet[:n]); ok && kind == typePidFD && of == id {
			return fd
		}
		closeRight(fd)
	}
}
