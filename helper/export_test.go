//go:build linux && cgo && (amd64 || arm64)

package helper

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/plan"
)

// A Header is that of a message, for tests that send what the package never would.
type Header struct {
	Magic         uint32
	Version, Type uint16
	ID            uint64
	Length, NFDs  uint32
}

const (
	Magic    = magic
	Version  = wireVersion
	TypeGo   = typeGo
	TypeExec = typeExec

	TypeInherit = typeInherit
	Chunk       = chunk
	MaxBody     = maxBody
)

// NeverReady is a helper that will have no ready child, and no process.
func NeverReady() *Helper {
	return &Helper{options: Options{Ready: 1}, boot: make(chan struct{}), exited: make(chan struct{})}
}

// Raw sends packets as they are and waits for the answer to the request of that id.
func (h *Helper) Raw(id uint64, packets [][]byte, fds ...int) error {
	answer := make(chan reply, 1)
	h.conn.mu.Lock()
	h.conn.pending[id] = answer
	h.conn.mu.Unlock()
	h.conn.send.Lock()
	defer h.conn.send.Unlock()
	for i, packet := range packets {
		var rights []byte
		if i == 0 && len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		if err := h.conn.sendPacket(packet, rights); err != nil {
			return err
		}
	}
	return (<-answer).err
}

// CutShort sends a request of two packets, of which the second one can't be sent; and if
// all is set, nothing that follows can.
func (h *Helper) CutShort(kind uint16, all bool) error {
	over, cut, lock := h.conn.sendPacket, h.conn.shutdown, &h.conn.send
	if kind == typeExec {
		over, cut, lock = h.starts.sendPacket, h.starts.cut, &h.starts.mu
	}
	lock.Lock()
	defer lock.Unlock()
	n := 0
	send := func(packet, rights []byte) error {
		if n++; n == 2 || n > 2 && all {
			return syscall.ENOBUFS
		}
		return over(packet, rights)
	}
	return sendMessage(send, cut, kind, 1<<42, make([]byte, chunk+1), nil)
}

// WaitEnded returns when the helper process has ended.
func (h *Helper) WaitEnded() { <-h.done }

// RawStart sends packets over the socket for programs, waits for the answer to the request
// of that id, and reaps the child if there was one.
func (h *Helper) RawStart(id uint64, packets [][]byte, fds ...int) error {
	h.starts.mu.Lock()
	defer h.starts.mu.Unlock()
	answer := answers(h.starts.memory)
	answer.expect(id)
	for i, packet := range packets {
		var rights []byte
		if i == 0 && len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		if err := h.starts.sendPacket(packet, rights); err != nil {
			return err
		}
	}
	answer.await(id)
	r := answer.reply(id, false)
	if r.pid > 0 {
		rawfork.Wait(r.pid)
	}
	return r.err
}

// ExecBody is the body of a good request for a program.
func (h *Helper) ExecBody(path string) ([]byte, error) {
	compiled, err := plan.Compile(path, nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{}})
	if err != nil {
		return nil, err
	}
	request, _, err := h.encodeExec(compiled)
	return request.body, err
}

// InheritBody is the body of a good message that follows it.
func (h *Helper) InheritBody() ([]byte, error) {
	message, _, err := h.inherit()
	return unsafe.Slice((*byte)(unsafe.Pointer(&message)), unsafe.Sizeof(message)), err
}

// Bytes are the header's.
func (h Header) Bytes() []byte {
	b, err := binary.Append(nil, binary.NativeEndian, h)
	if err != nil {
		panic(err) // it has a fixed size
	}
	return b
}
