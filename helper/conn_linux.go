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
	replyLen  = 8
)

// The most that one packet of the helper's has, and a byte more, by which a longer one
// is known; and its descriptor.
var packetRoom, rightsRoom = headerLen + replyLen + 1, unix.CmsgSpace(4)

// conn is the program's end of the socket over which Go children are asked for and
// the helper tells of its waiting children: requests go out from any goroutine, answers
// find the goroutine that waits for them.
type conn struct {
	file *os.File
	raw  syscall.RawConn
	hear func(kind uint16, pid int) // gets what comes, before a reply is given on

	send sync.Mutex // one message at a time, which may be several packets

	mu      sync.Mutex
	nextID  uint64
	pending map[uint64]chan reply // nil once the connection has ended
	ended   chan struct{}         // closed with it
}

// reply is what the helper says of one request. With an error, a pid above 0 is
// that of a child that has ended, or is about to: to be reaped.
type reply struct {
	pid   int
	pidfd int   // or -1
	step  int32 // of the plan that failed, or 0
	err   error // an errno; ErrEnded when no answer came
}

// noReply is the reply of a request that was not answered.
func noReply(err error) reply { return reply{pid: -1, pidfd: -1, err: err} }

// newConn takes ownership of sock, which is non-blocking, and listens.
func newConn(sock int, hear func(kind uint16, pid int)) *conn {
	c := &conn{
		file:    os.NewFile(uintptr(sock), "helper"),
		hear:    hear,
		pending: make(map[uint64]chan reply),
		ended:   make(chan struct{}),
	}
	c.raw, _ = c.file.SyscallConn() // fails for a nil file only
	go c.listen()
	return c
}

// shutdown tells the helper to end. What it has said is still heard.
func (c *conn) shutdown() {
	c.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
}

// close ends the connection at this end.
func (c *conn) close() { c.file.Close() }

// request sends one request and waits for its answer.
func (c *conn) request(kind uint16, body []byte, fds []int) reply {
	answer := make(chan reply, 1)
	c.mu.Lock()
	if c.pending == nil {
		c.mu.Unlock()
		return noReply(ErrEnded)
	}
	c.nextID++
	id := c.nextID
	c.pending[id] = answer
	c.mu.Unlock()

	c.send.Lock()
	err := sendMessage(c.sendPacket, c.shutdown, kind, id, body, fds)
	c.send.Unlock()
	if err != nil {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
		return noReply(err)
	}
	return <-answer
}

// sendMessage sends one message in as many packets as its body needs. When one of them
// can't be sent, the helper is told that the message ends there, else it would wait for the
// rest of it for ever and take the next message for that. When not even that can be sent,
// cut ends the connection, and the helper.
func sendMessage(send func(packet, rights []byte) error, cut func(), kind uint16, id uint64, body []byte, fds []int) error {
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
	first := min(len(body), chunk)
	if err := send(append(packet, body[:first]...), rights); err != nil {
		return err
	}
	for rest := body[first:]; len(rest) > 0; {
		n := min(len(rest), chunk)
		if err := send(rest[:n], nil); err != nil {
			if send(nil, nil) != nil { // an empty packet is no part of a message
				cut()
			}
			return err
		}
		rest = rest[n:]
	}
	return nil
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
	return sendError(closed, err)
}

// sendError is what a sendmsg(2) that gave err means; closed, why it wasn't called.
func sendError(closed, err error) error {
	if closed != nil || err == unix.EPIPE || err == unix.ECONNRESET {
		return ErrEnded
	}
	return os.NewSyscallError("sendmsg", err)
}

// listen hears the helper until the connection ends, then fails what is pending.
func (c *conn) listen() {
	packet, rights := make([]byte, packetRoom), make([]byte, rightsRoom)
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
		closeRight(takeRight(rights[:rightsLen])) // none is expected here
		c.take(packet[:n])
	}
	c.file.Close()
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, answer := range pending {
		answer <- noReply(ErrEnded)
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

func closeRight(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}

// parseReply takes a packet of the helper's apart.
func parseReply(packet []byte) (kind uint16, id uint64, r reply, ok bool) {
	if len(packet) != headerLen+replyLen || binary.NativeEndian.Uint32(packet) != magic ||
		binary.NativeEndian.Uint16(packet[4:]) != wireVersion {
		return 0, 0, reply{}, false
	}
	word := func(i int) int32 { return int32(binary.NativeEndian.Uint32(packet[headerLen+4*i:])) }
	r = reply{pid: int(word(0)), pidfd: -1}
	if errno := syscall.Errno(word(1)); errno != 0 {
		r.err = errno
	}
	return binary.NativeEndian.Uint16(packet[6:]), binary.NativeEndian.Uint64(packet[8:]), r, true
}

// take gives one packet to whom it is for. One that is malformed is nobody's.
func (c *conn) take(packet []byte) {
	kind, id, r, ok := parseReply(packet)
	if !ok {
		return
	}
	c.hear(kind, r.pid)
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer := c.pending[id]; answer != nil && kind == typeReply {
		delete(c.pending, id)
		answer <- r
	}
}
