//go:build linux && cgo && (amd64 || arm64)

package helper

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/internal/guardpage"
	"rawfork/internal/plan"
)

// mutate adds variants of a body with words in it that bounds are broken by.
func mutate(f *testing.F, body []byte, header int, nfds uint32) {
	random := rand.New(rand.NewPCG(1, 2))
	f.Add(body, nfds)
	for range 300 {
		mutated := bytes.Clone(body)
		for range 1 + random.IntN(3) {
			word := []uint32{0, 1, 0xffffffff, 0x80000000, 0x40000000, random.Uint32(), random.Uint32N(100)}[random.IntN(7)]
			binary.NativeEndian.PutUint32(mutated[4*random.IntN(header/4):], word)
		}
		f.Add(mutated, random.Uint32N(3)*nfds)
	}
}

// FuzzGo compares the check in C of a request for a Go child with one in Go. What
// passes says the same after decoding and encoding.
func FuzzGo(f *testing.F) {
	request := goRequest{name: "name", flags: goDir, hasEnv: true, env: []string{"A=1", "", "B=2"}}
	mutate(f, request.encode(), goHeaderLen, 1)
	f.Add([]byte{}, uint32(0))
	f.Add((&goRequest{name: "name"}).encode(), uint32(0))
	f.Add((&goRequest{name: strings.Repeat("n", maxName), hasEnv: true}).encode(), uint32(253))
	f.Fuzz(func(t *testing.T, body []byte, nfds uint32) {
		guarded, free := guardpage.Copy(t, body)
		defer free()
		got := checkGo(guarded, nfds) == nil
		if want := validGo(body, nfds); got != want {
			t.Fatalf("the check says %t, want %t", got, want)
		}
		if !got {
			return
		}
		request := decodeGo(body)
		if diff := cmp.Diff(body, request.encode()); diff != "" {
			t.Errorf("decoded and encoded (-want +got):\n%s", diff)
		}
	})
}

// validGo is rf_go_check once more, from wire.h's words.
func validGo(body []byte, nfds uint32) bool {
	if len(body) < goHeaderLen {
		return false
	}
	word := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(body[4*i:])) }
	flags, nameLen, envLen := word(0), word(1), word(2)
	if flags > goDir|goEnv|goEnd || word(3) != 0 || nameLen == 0 || goHeaderLen+nameLen+envLen != uint64(len(body)) {
		return false
	}
	name, env := body[goHeaderLen:][:nameLen], body[goHeaderLen+nameLen:]
	return bytes.IndexByte(name, 0) < 0 && (flags&goDir == 0 || nfds > 0) &&
		(len(env) == 0 || flags&goEnv != 0 && env[len(env)-1] == 0)
}

// FuzzExec does the same with requests for a program. The plan in it is checked by
// package plan, which has a fuzz test of its own.
func FuzzExec(f *testing.F) {
	attr := &syscall.ProcAttr{Dir: "/", Env: []string{"A=1"}, Files: []uintptr{3, 4, 3},
		Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{1, 2}}, UseCgroupFD: true, CgroupFD: 5}}
	compiled, err := plan.Compile("/bin/true", []string{"true"}, attr)
	if err != nil {
		f.Fatal(err)
	}
	fds := plan.FDs(compiled)
	fds[0], fds[1], fds[2] = 0, notOpen, notOpen
	var header execHeader
	const headerLen = int(unsafe.Sizeof(header))
	header.nfds = 1
	head := bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&header)), headerLen))
	mutate(f, append(head, compiled...), len(head)+len(compiled)-8, 1)
	f.Add([]byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, body []byte, nfds uint32) {
		guarded, free := guardpage.Copy(t, append(bytes.Clone(body), make([]byte, -len(body)&7)...))
		defer free()
		body = guarded[:len(body)] // at a multiple of 8
		passed := checkExec(body, nfds) == nil
		if len(body) < headerLen {
			if passed {
				t.Fatalf("%d bytes passed", len(body))
			}
			return
		}
		header := (*execHeader)(unsafe.Pointer(unsafe.SliceData(body)))
		good := header.pgid >= 0 && header.nfds <= maxFDs && header.set_nproc <= 1 && header.pad == 0 && plan.Check(body[headerLen:]) == nil && !plan.Shares(body[headerLen:])
		if good {
			good = nfds == 0 || nfds == 1 && plan.Cgroup(body[headerLen:]) >= 0
			for _, fd := range plan.FDs(body[headerLen:]) {
				good = good && (fd == notOpen || fd >= 0 && cUint(fd) < header.nfds)
			}
		}
		if passed != good {
			t.Fatalf("the check says %t, want %t", passed, good)
		}
	})
}

// FuzzReceive sends packets, each with its length ahead in the input, and receives
// until the end: it must come, and no descriptor may be left.
func FuzzReceive(f *testing.F) {
	packet := func(b []byte) []byte { return append(binary.NativeEndian.AppendUint16(nil, uint16(len(b))), b...) }
	good := Header{Magic: magic, Version: wireVersion, Type: typeGo, Length: 3}.Bytes()
	f.Add(packet(append(good, "abc"...)), uint8(0))
	f.Add(append(packet(append(good, "abc"...)), packet([]byte("x"))...), uint8(3))
	f.Add(packet(nil), uint8(1))
	long := append(Header{Magic: magic, Version: wireVersion, Length: chunk + 3, NFDs: 2}.Bytes(), make([]byte, 1<<16-1-headerLen)...)
	f.Add(append(packet(long), packet([]byte("abc"))...), uint8(2))
	f.Fuzz(func(t *testing.T, input []byte, nfds uint8) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[1])
		packets := 0
		for ; len(input) >= 2 && packets < 5; packets++ { // as many as the socket holds
			n := min(int(binary.NativeEndian.Uint16(input)), len(input)-2)
			var rights []byte
			if packets == 0 && nfds > 0 {
				rights = unix.UnixRights(make([]int, nfds)...)
			}
			err := unix.Sendmsg(pair[0], input[2:2+n], rights, nil, unix.MSG_DONTWAIT)
			if err != nil && err != unix.EAGAIN && err != unix.EINVAL { // above 253
				t.Fatal(err)
			}
			input = input[2+n:]
		}
		unix.Close(pair[0])
		before := lowestFree(t)
		for n := 0; ; n++ {
			body, err := receive(pair[1])
			if body == nil && (err == nil || err == unix.ECONNRESET) { // in the midst of a message
				break
			}
			if n > packets {
				t.Fatalf("more messages than the %d packets", packets)
			}
		}
		if diff := cmp.Diff(before, lowestFree(t)); diff != "" {
			t.Errorf("the lowest free descriptor (-before +after):\n%s", diff)
		}
	})
}

func lowestFree(t *testing.T) int {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return fd
}
