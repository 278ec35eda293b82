//go:build cgo && (amd64 || arm64)

package helper

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sizes of the structures in wire.h.
const (
	headerLen = 24
	replyLen  = 12
)

// conn is the program's end of the helper's socket: requests go out from any
// goroutine, answers find the goroutine that waits for them.
type conn struct {
	file *os.File
	raw  syscall.RawConn
	born []byte                     // the memory of mapBorn
	hear func(kind uint16, pid int) // gets what comes, before a reply is given on

	send sync.Mutex // one message at a time, which may be several packets

	mu      sync.Mutex
	nextID  uint64
	pending map[uint64]*call // nil once the connection has ended
	ended   chan struct{}    // closed with it
}

// call is a request that waits for its answer.
type call struct {
	answer chan reply
	reply  // what is known so far
}

// reply is what the helper says of one request. With an error, a pid above 0 is
// that of a child that has ended, or is about to: to be reaped.
type reply struct {
	pid   int
	pidfd int // or -1
	step  int32
	err   error // an errno; ErrEnded when no answer came
}

// newConn takes ownership of sock, which is non-blocking, and of the memory of mapBorn,
// and listens.
func newConn(sock int, born []byte, hear func(kind uint16, pid int)) *conn {
	c := &conn{
		file:    os.NewFile(uintptr(sock), "helper"),
		born:    born,
		hear:    hear,
		pending: make(map[uint64]*call),
		ended:   make(chan struct{}),
	}
	c.raw, _ = c.file.SyscallConn() // fails for a nil file only
	go c.listen()
	return c
}

// shutdown tells the helper to end. What it has said, and what its children say on
// their way to exec, is still heard.
func (c *conn) shutdown() {
	c.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
}

// close ends the connection at this end.
func (c *conn) close() { c.file.Close() }

// request sends one request and waits for its answer.
func (c *conn) request(kind uint16, body []byte, fds []int) reply {
	this := &call{answer: make(chan reply, 1), reply: reply{pid: -1, pidfd: -1}}
	c.mu.Lock()
	if c.pending == nil {
		c.mu.Unlock()
		return reply{pid: -1, pidfd: -1, err: ErrEnded}
	}
	c.nextID++
	id := c.nextID
	c.pending[id] = this
	c.mu.Unlock()

	if err := c.write(kind, id, body, fds); err != nil {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
		return reply{pid: -1, pidfd: -1, err: err}
	}
	return <-this.answer
}

// write sends one message in as many packets as its body needs.
func (c *conn) write(kind uint16, id uint64, body []byte, fds []int) error {
	if len(body) > maxBody {
		return fmt.Errorf("request of %d bytes, above %d: %w", len(body), maxBody, syscall.E2BIG)
	}
	if len(fds) > maxFDs {
		return fmt.Errorf("request with %d descriptors, above %d: %w", len(fds), maxFDs, syscall.E2BIG)
	}
	packet := make([]byte, headerLen, headerLen+min(len(body), chunk))
	binary.NativeEndian.PutUint32(packet[0:], magic)
	binary.NativeEndian.PutUint16(packet[4:], wireVersion)
	binary.NativeEndian.PutUint16(packet[6:], kind)
	binary.NativeEndian.PutUint64(packet[8:], id)
	binary.NativeEndian.PutUint32(packet[16:], uint32(len(body)))
	binary.NativeEndian.PutUint32(packet[20:], uint32(len(fds)))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	c.send.Lock()
	defer c.send.Unlock()
	first := min(len(body), chunk)
	err := c.sendPacket(append(packet, body[:first]...), rights)
	for rest := body[first:]; err == nil && len(rest) > 0; {
		n := min(len(rest), chunk)
		err = c.sendPacket(rest[:n], nil)
		rest = rest[n:]
	}
	return err
}

func (c *conn) sendPacket(packet, rights []byte) error {
	var err error
	closed := c.raw.Write(func(fd uintptr) bool {
		for {
			err = unix.Sendmsg(int(fd), packet, rights, nil, unix.MSG_NOSIGNAL)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if closed != nil || err == unix.EPIPE || err == unix.ECONNRESET {
		return ErrEnded
	}
	if err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	return nil
}

// listen hears the helper until the connection ends, then fails what is pending.
func (c *conn) listen() {
	packet, rights := make([]byte, headerLen+replyLen+1), make([]byte, unix.CmsgSpace(4))
	for {
		var n, rightsLen int
		var err error
		closed := c.raw.Read(func(fd uintptr) bool {
			n, rightsLen, _, _, err = unix.Recvmsg(int(fd), packet, rights, unix.MSG_CMSG_CLOEXEC)
			return err != unix.EAGAIN && err != unix.EINTR
		})
		if closed == nil && err == unix.ECONNRESET {
			continue // the helper died with requests unread; what it said comes now
		}
		if closed != nil || err != nil || n == 0 {
			break
		}
		c.take(packet[:n], takeRight(rights[:rightsLen]))
	}
	c.file.Close()
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	id, pid := lastBorn(c.born)
	unix.Munmap(c.born)
	if this := pending[id]; this != nil && pid > 0 {
		c.hear(typeReply, pid)
		this.pid = pid
	}
	for _, this := range pending {
		this.err = ErrEnded
		this.answer <- this.reply
	}
	close(c.ended)
}

// takeRight returns the descriptor of a control message, or -1. There is room for
// one only, and the kernel closes what has none.
func takeRight(control []byte) (fd int) {
	messages, _ := unix.ParseSocketControlMessage(control)
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil && len(fds) > 0 {
			return fds[0]
		}
	}
	return -1
}

// take gives one packet to whom it is for. One that is malformed is nobody's.
func (c *conn) take(packet []byte, fd int) {
	if len(packet) != headerLen+replyLen || binary.NativeEndian.Uint32(packet) != magic ||
		binary.NativeEndian.Uint16(packet[4:]) != wireVersion {
		closeRight(fd)
		return
	}
	kind := binary.NativeEndian.Uint16(packet[6:])
	word := func(i int) int32 { return int32(binary.NativeEndian.Uint32(packet[headerLen+4*i:])) }
	pid := int(word(0))
	c.hear(kind, pid)

	c.mu.Lock()
	defer c.mu.Unlock()
	id := binary.NativeEndian.Uint64(packet[8:])
	this := c.pending[id]
	switch {
	case this != nil && kind == typePidFD && this.pidfd < 0:
		this.pidfd = fd
		return
	case this != nil && kind == typeReply:
		delete(c.pending, id)
		this.pid, this.step = pid, word(2)
		if errno := syscall.Errno(word(1)); errno != 0 {
			this.err = errno
		}
		this.answer <- this.reply
	}
	closeRight(fd)
}

func closeRight(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}
