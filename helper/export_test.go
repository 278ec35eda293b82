//go:build linux && cgo && (amd64 || arm64)

package helper

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
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
	Chunk    = chunk
	MaxBody  = maxBody
)

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

// Bytes are the header's.
func (h Header) Bytes() []byte {
	b, err := binary.Append(nil, binary.NativeEndian, h)
	if err != nil {
		panic(err) // it has a fixed size
	}
	return b
}
