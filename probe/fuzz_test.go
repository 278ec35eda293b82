//go:build linux && cgo && (amd64 || arm64)

package probe

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FuzzServe sends a live child messages that may be no requests. It must answer
// each of them, within the bounds of the protocol, and serve on.
func FuzzServe(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytesOf(&request{op: opSyscall}))
	f.Add(bytesOf(&request{op: opFork}))
	f.Add(bytesOf(&request{op: opMemory, out: region{scratch(), maxData}}))
	f.Add(bytesOf(&request{op: opMemory, out: region{^uintptr(0), maxData}}))
	f.Add(append(bytesOf(&request{op: opMemory, in: region{8, 1}}), 1))
	f.Add(append(bytesOf(&request{op: opMemory, in: region{scratch(), 5}, out: region{scratch(), 5}}), "hello"...))
	f.Add(make([]byte, requestSize+maxData+1))
	p, err := Fork()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { p.Close() })
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) == 0 { // is the end of the connection
			return
		}
		tame(message)
		if err := p.sendMessage(message, -1); err == unix.EMSGSIZE {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		answer, _, err := p.receive(time.Now().Add(DefaultTimeout))
		if err != nil {
			t.Fatalf("no answer to %d bytes: %v", len(message), err)
		}
		var want request
		copy(bytesOf(&want), message)
		if errno := want.check(uintptr(len(message))); errno != 0 {
			want = request{}
		}
		r, _, err := parseReply(answer, want.seq, want.out.len)
		if err != nil {
			t.Fatalf("request %+v: %v", want, err)
		}
		if want.op == 0 && syscall.Errno(r.errno) != syscall.EBADMSG && syscall.Errno(r.errno) != syscall.EMSGSIZE {
			t.Errorf("a bad request was answered by %+v", r)
		}
		if _, err := p.Getpid(); err != nil {
			t.Fatalf("after %d bytes: %v", len(message), err)
		}
	})
}

// tame lets no request make a system call but getpid, nor write to memory but
// scratch and what is not mapped: a child does what it is told, also if that is
// its end.
func tame(message []byte) {
	if uintptr(len(message)) < requestSize {
		return
	}
	var q request
	copy(bytesOf(&q), message)
	q.trap = unix.SYS_GETPID
	if q.in.addr%2 == 0 {
		q.in.addr = scratch()
	} else {
		q.in.addr = 1 << 46
	}
	copy(message, bytesOf(&q))
}

// FuzzCheck has the child's look at a request find no more data than came.
func FuzzCheck(f *testing.F) {
	f.Add(uint(requestSize), uint(opSyscall), uint(0), uint(0))
	f.Add(uint(0), uint(opMemory), ^uint(0), ^uint(0))
	f.Add(uint(requestSize-1), uint(opMemory), ^uint(0), uint(1))
	f.Fuzz(func(t *testing.T, n, op, in, out uint) {
		q := request{op: uintptr(op), in: region{0, uintptr(in)}, out: region{0, uintptr(out)}}
		if q.check(uintptr(n)) == 0 &&
			(n < uint(requestSize) || in > maxData || in != n-uint(requestSize) || out > maxData || op == 0 || op >= opEnd) {
			t.Errorf("a request of %d bytes passed: %+v", n, q)
		}
	})
}

// FuzzReply has the parent's look at a reply give no data but what was asked for.
func FuzzReply(f *testing.F) {
	f.Add(bytesOf(&reply{seq: 1}), uint(1), uint(0))
	f.Add(append(bytesOf(&reply{seq: 1}), "data"...), uint(1), uint(4))
	f.Add(bytesOf(&reply{seq: 1, errno: uintptr(syscall.EFAULT)}), uint(1), uint(4))
	f.Add(bytesOf(&reply{seq: 1, errno: maxErrno + 1}), uint(1), uint(0))
	f.Add([]byte{1}, uint(1), uint(0))
	f.Fuzz(func(t *testing.T, message []byte, seq, size uint) {
		r, data, err := parseReply(message, uintptr(seq), uintptr(size))
		if err != nil {
			return
		}
		if uint(r.seq) != seq || r.errno > maxErrno || (r.errno == 0 || len(data) > 0) && uint(len(data)) != size {
			t.Errorf("%+v with %d bytes passed as the reply to %d, with %d bytes", r, len(data), seq, size)
		}
	})
}

// FuzzLayout lays out memory arguments: each within scratch, none over another,
// and brought back whole.
func FuzzLayout(f *testing.F) {
	f.Add("path", []byte("bytes"), uint64(7), uint16(3))
	f.Add("", []byte{}, uint64(0), uint16(0))
	f.Add("x\x00y", make([]byte, maxData), uint64(0), uint16(9))
	f.Fuzz(func(t *testing.T, s string, b []byte, v uint64, count uint16) {
		array := make([]uint16, count)
		a, err := layout([]any{s, b, v, &v, array, nil}, 0)
		if err != nil {
			return
		}
		type span struct{ at, end uintptr }
		spans := []span{
			{a.values[0], a.values[0] + uintptr(len(s)) + 1},
			{a.values[1], a.values[1] + uintptr(len(b))},
			{a.values[3], a.values[3] + unsafe.Sizeof(v)},
			{a.values[4], a.values[4] + uintptr(2*len(array))},
		}
		for i, x := range spans {
			if x.end > uintptr(len(a.data)) || x.end > maxData || x.at%align != 0 || i > 0 && x.at < spans[i-1].end {
				t.Errorf("argument %d lies at %v of %d bytes, after %v", i+1, x, len(a.data), spans[:i])
			}
		}
		if got := string(a.data[spans[0].at:spans[0].end]); got != s+"\x00" {
			t.Errorf("the string %q became %q", s, got)
		}
		if got := binary.NativeEndian.Uint64(a.data[spans[2].at:]); got != v || a.values[2] != uintptr(v) {
			t.Errorf("the integer %d became %d and %d", v, got, a.values[2])
		}
		changed := make([]byte, len(a.data))
		for i := range changed {
			changed[i] = byte(i)
		}
		a.copyBack(changed)
		if len(b) > 0 && fmt.Sprint(b) != fmt.Sprint(changed[spans[1].at:spans[1].end]) {
			t.Errorf("came back as %v", b)
		}
	})
}
