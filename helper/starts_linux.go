//go:build cgo && (amd64 || arm64)

package helper

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// starts is the program's end of the socket over which programs are started.
//
// A caller has it from its request to the answer, and waits for that in the system
// call itself. So the processor is free for the helper as soon as the request is sent,
// and no thread is woken but the one that waits: with the Go runtime's poller in
// between there were three more, one of them each time that the helper took a request
// from the socket, while the helper and its child wanted the same processors.
type starts struct {
	told func(pid int) // gets the pid of each child, also of one that has failed

	mu     sync.Mutex
	file   *os.File // blocking; nil once the connection has ended
	raw    syscall.RawConn
	born   []byte // the memory of mapBorn
	lastID uint64
}

// newStarts takes ownership of sock, which is blocking, and of the memory of mapBorn.
func newStarts(sock int, born []byte, told func(pid int)) *starts {
	s := &starts{told: told, file: os.NewFile(uintptr(sock), "helper"), born: born}
	s.raw, _ = s.file.SyscallConn() // fails for a nil file only
	return s
}

// shutdown ends the wait of a call that is under way.
func (s *starts) shutdown() {
	s.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

// end waits for the call that is under way, and gives everything back.
func (s *starts) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Close()
	s.file = nil
	unix.Munmap(s.born)
}

// start has the helper start a program, and waits for its answer. With the error
// ErrEnded, a pid above 0 is that of the child that the helper had made before.
func (s *starts) start(body []byte, fds []int) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return noReply(ErrEnded)
	}
	s.lastID++
	id := s.lastID
	if err := sendMessage(s.sendPacket, typeExec, id, body, fds); err != nil {
		return noReply(err)
	}
	r := s.receive(id)
	if r.err == ErrEnded {
		if last, pid := lastBorn(s.born); last == id && pid > 0 {
			r.pid = pid
		}
	}
	if r.pid > 0 {
		s.told(r.pid)
	}
	return r
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

// receive waits for the answer to the request of that id. Its pidfd comes ahead of it,
// from the child.
func (s *starts) receive(id uint64) reply {
	pidfd := -1
	packet, rights := make([]byte, packetRoom), make([]byte, rightsRoom)
	for {
		var n, rightsLen int
		var err error
		closed := s.raw.Control(func(fd uintptr) {
			n, rightsLen, _, _, err = unix.Recvmsg(int(fd), packet, rights, unix.MSG_CMSG_CLOEXEC)
		})
		if closed == nil && (err == unix.EINTR || err == unix.ECONNRESET) {
			continue // ECONNRESET: the helper died with a request unread; what it said comes now
		}
		if closed != nil || err != nil || n == 0 {
			r := noReply(ErrEnded)
			r.pidfd = pidfd
			return r
		}
		fd := takeRight(rights[:rightsLen])
		kind, of, r, ok := parseReply(packet[:n])
		switch {
		case ok && of == id && kind == typePidFD && pidfd < 0:
			pidfd = fd
			continue
		case ok && of == id && kind == typeReply:
			closeRight(fd)
			r.pidfd = pidfd
			return r
		}
		closeRight(fd)
	}
}
