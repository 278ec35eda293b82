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

// conn is the program's end of the helper's socket: requests go out from any
// goroutine, answers find the goroutine that waits for them.
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

// reply is what the helper says of one request.
type reply struct {
	pid int
	err error
}

// newConn takes ownership of sock, which is non-blocking, and listens on it.
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

// close ends the connection, and with it the helper.
func (c *conn) close() { c.file.Close() }

// request sends one request and waits for its answer: the pid in it and its errno.
// With an error, a pid above 0 is that of a child that is being killed.
func (c *conn) request(kind uint16, body []byte, fds []int) (pid int, err error) {
	answer := make(chan reply, 1)
	c.mu.Lock()
	if c.pending == nil {
		c.mu.Unlock()
		return -1, ErrEnded
	}
	c.nextID++
	id := c.nextID
	c.pending[id] = answer
	c.mu.Unlock()

	if err := c.write(kind, id, body, fds); err != nil {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
		return -1, err
	}
	r := <-answer
	return r.pid, r.err
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
	packet := make([]byte, headerLen+replyLen+1)
	for {
		var n int
		var err error
		closed := c.raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), packet)
			return err != unix.EAGAIN && err != unix.EINTR
		})
		if closed != nil || err != nil || n == 0 {
			break
		}
		c.take(packet[:n])
	}
	c.file.Close()
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, answer := range pending {
		answer <- reply{pid: -1, err: ErrEnded}
	}
	close(c.ended)
}

// take gives one packet to whom it is for. One that is malformed is nobody's.
func (c *conn) take(packet []byte) {
	if len(packet) != headerLen+replyLen || binary.NativeEndian.Uint32(packet) != magic ||
		binary.NativeEndian.Uint16(packet[4:]) != wireVersion {
		return
	}
	kind := binary.NativeEndian.Uint16(packet[6:])
	pid := int(int32(binary.NativeEndian.Uint32(packet[headerLen:])))
	errno := syscall.Errno(binary.NativeEndian.Uint32(packet[headerLen+4:]))
	c.hear(kind, pid)
	if kind != typeReply {
		return
	}
	id := binary.NativeEndian.Uint64(packet[8:])
	c.mu.Lock()
	answer := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if answer == nil {
		return
	}
	r := reply{pid: pid}
	if errno != 0 {
		r.err = errno
	}
	answer <- r
}
