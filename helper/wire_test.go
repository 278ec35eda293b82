//go:build linux && cgo && (amd64 || arm64)

package helper_test

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rawfork/helper"
	"rawfork/internal/forktest"
)

// What isn't a request is answered by an error, leaves no descriptor in the helper,
// and the next request is served.
func TestBadMessages(t *testing.T) {
	h := start(t, helper.Options{})
	header := func(change func(*helper.Header)) []byte {
		h := helper.Header{Magic: helper.Magic, Version: helper.Version, Type: helper.TypeGo, ID: 1 << 40}
		change(&h)
		return h.Bytes()
	}
	length := func(n uint32, body int) []byte {
		return append(header(func(h *helper.Header) { h.Length = n }), make([]byte, body)...)
	}
	for _, test := range []struct {
		what    string
		packets [][]byte
		fds     int
		id      uint64 // of the answer: 0 where the packet has none
		want    error
	}{
		{"an empty packet", [][]byte{{}}, 0, 0, syscall.EBADMSG},
		{"an empty packet with a descriptor", [][]byte{{}}, 1, 0, syscall.EBADMSG},
		{"one byte", [][]byte{{1}}, 2, 0, syscall.EBADMSG},
		{"a header less one byte", [][]byte{length(0, 0)[:23]}, 1, 1 << 40, syscall.EBADMSG},
		{"another magic", [][]byte{header(func(h *helper.Header) { h.Magic++ })}, 0, 1 << 40, syscall.EBADMSG},
		{"another version", [][]byte{header(func(h *helper.Header) { h.Version++ })}, 0, 1 << 40, syscall.EBADMSG},
		{"an unknown type", [][]byte{header(func(h *helper.Header) { h.Type = 99 })}, 0, 1 << 40, syscall.ENOSYS},
		{"an answer", [][]byte{header(func(h *helper.Header) { h.Type = 16 })}, 0, 1 << 40, syscall.ENOSYS},
		{"no body", [][]byte{length(0, 0)}, 0, 1 << 40, syscall.EBADMSG},
		{"less body than said", [][]byte{length(100, 99)}, 0, 1 << 40, syscall.EBADMSG},
		{"more body than said", [][]byte{length(100, 101)}, 0, 1 << 40, syscall.EBADMSG},
		{"4 GB of body", [][]byte{length(1<<32-1, helper.Chunk)}, 0, 1 << 40, syscall.EBADMSG},
		{"one byte above the limit", [][]byte{length(helper.MaxBody+1, helper.Chunk)}, 0, 1 << 40, syscall.EBADMSG},
		{"a packet that is too long", [][]byte{length(helper.Chunk, helper.Chunk+1)}, 1, 1 << 40, syscall.EBADMSG},
		{"a second packet that is too short", [][]byte{length(2*helper.Chunk, helper.Chunk), make([]byte, 10)}, 1, 1 << 40, syscall.EBADMSG},
		{"a second packet that is too long", [][]byte{length(helper.Chunk+1, helper.Chunk), make([]byte, 2)}, 0, 1 << 40, syscall.EBADMSG},
		{"descriptors that aren't announced", [][]byte{length(0, 0)}, 3, 1 << 40, syscall.EBADMSG},
		{"fewer descriptors than announced", [][]byte{header(func(h *helper.Header) { h.NFDs = 4 })}, 3, 1 << 40, syscall.EBADMSG},
		{"2^32 - 1 descriptors announced", [][]byte{header(func(h *helper.Header) { h.NFDs = 1<<32 - 1 })}, 1, 1 << 40, syscall.EBADMSG},
		{"a child of ones", [][]byte{append(header(func(h *helper.Header) { h.Length = 1000 }), bytes.Repeat([]byte{0xff}, 1000)...)}, 0, 1 << 40, syscall.EBADMSG},
	} {
		t.Run(test.what, func(t *testing.T) {
			if err := h.Raw(test.id, test.packets, make([]int, test.fds)...); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			process, err := h.Go("exit")
			if err != nil {
				t.Fatal(err)
			}
			wantExit(t, process, 9)
			// The helper closes what the child's start took after the child goes on, and
			// before it serves another request.
			if err := h.Raw(1<<41, [][]byte{header(func(h *helper.Header) { h.Type, h.ID = 99, 1<<41 })}); !errors.Is(err, syscall.ENOSYS) {
				t.Errorf("an unknown type: %v, want ENOSYS", err)
			}
			if diff := cmp.Diff(6, forktest.DescriptorsOf(t, h.Pid())); diff != "" {
				t.Errorf("the helper's descriptors (-want +got):\n%s", diff)
			}
		})
	}
}

// A request whose second packet can't be sent, for want of memory, is an error. The helper
// doesn't wait for the rest: it serves the next one.
func TestRequestCutShort(t *testing.T) {
	for _, kind := range []uint16{helper.TypeGo, helper.TypeExec} {
		h := start(t, helper.Options{})
		if err := h.CutShort(kind, false); err != syscall.ENOBUFS {
			t.Errorf("type %d: %v, want ENOBUFS", kind, err)
		}
		process, err := h.Go("exit")
		if err != nil {
			t.Fatal(err)
		}
		wantExit(t, process, 9)
		pid, err := h.ForkExec(forktest.ExitProgram(t), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, 0)
		// Where the helper can't be told, it ends.
		if err := h.CutShort(kind, true); err != syscall.ENOBUFS {
			t.Errorf("type %d: %v, want ENOBUFS", kind, err)
		}
		h.WaitEnded()
		if _, err := h.Go("exit"); !errors.Is(err, helper.ErrEnded) {
			t.Errorf("type %d: %v, want %v", kind, err, helper.ErrEnded)
		}
		if _, err := h.ForkExec("/bin/true", nil, nil); !errors.Is(err, helper.ErrEnded) {
			t.Errorf("type %d: %v, want %v", kind, err, helper.ErrEnded)
		}
		h.Close()
	}
}

// The same holds for what comes over the socket for programs, and for what a child is
// told that was made already.
func TestBadStarts(t *testing.T) {
	h := start(t, helper.Options{})
	program := forktest.ExitProgram(t)
	execBody, err := h.ExecBody(program)
	if err != nil {
		t.Fatal(err)
	}
	inheritBody, err := h.InheritBody()
	if err != nil {
		t.Fatal(err)
	}
	const id = 1<<40 | 7
	packet := func(kind uint16, id uint64, nfds uint32, body []byte) []byte {
		header := helper.Header{Magic: helper.Magic, Version: helper.Version, Type: kind, ID: id, Length: uint32(len(body)), NFDs: nfds}
		return append(header.Bytes(), body...)
	}
	exec := packet(helper.TypeExec, id, 0, execBody)
	inherit := packet(helper.TypeInherit, id, 0, inheritBody)
	for _, test := range []struct {
		what    string
		packets [][]byte
		fds     int
		want    error
	}{
		{"zeros", [][]byte{packet(helper.TypeExec, id, 0, make([]byte, 1000))}, 0, syscall.EBADMSG},
		{"ones", [][]byte{packet(helper.TypeExec, id, 0, bytes.Repeat([]byte{0xff}, 1000))}, 0, syscall.EBADMSG},
		{"descriptors ahead of time", [][]byte{packet(helper.TypeExec, id, 2, execBody)}, 2, syscall.EBADMSG},
		{"an unknown type", [][]byte{packet(99, id, 0, nil)}, 0, syscall.ENOSYS},
		{"a Go child", [][]byte{packet(helper.TypeGo, id, 0, nil)}, 0, syscall.ENOSYS},
		{"less body than said", [][]byte{exec[:len(exec)-1]}, 0, syscall.EBADMSG},
		{"what follows, by itself, and zeros", [][]byte{inherit, packet(helper.TypeExec, id, 0, make([]byte, 1000))}, 0, syscall.EBADMSG},
		{"what follows another request", [][]byte{exec, packet(helper.TypeInherit, id+1, 0, inheritBody)}, 0, syscall.EBADMSG},
		{"what follows, too short", [][]byte{exec, inherit[:len(inherit)-1]}, 0, syscall.EBADMSG},
		{"two requests", [][]byte{exec, exec}, 0, syscall.EBADMSG},
		{"an empty packet", [][]byte{exec, {}}, 0, syscall.EBADMSG},
		{"nothing wrong", [][]byte{exec, inherit}, 0, nil},
	} {
		t.Run(test.what, func(t *testing.T) {
			if err := h.RawStart(id, test.packets, make([]int, test.fds)...); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			pid, err := h.ForkExec(program, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			forktest.WantExit(t, pid, 0)
			if diff := cmp.Diff(6, forktest.DescriptorsOf(t, h.Pid())); diff != "" {
				t.Errorf("the helper's descriptors (-want +got):\n%s", diff)
			}
		})
	}
}
