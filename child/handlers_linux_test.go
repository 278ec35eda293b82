//go:build cgo && (amd64 || arm64)

package child_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
)

// streams are the connections that a server meets: made as two descriptors, that
// of the child and that of its client.
var streams = []struct {
	name string
	make func(t *testing.T) (server, client int)
}{
	{"tcp", func(t *testing.T) (int, int) { return tcp(t, 0) }},
	{"tcp non-blocking", func(t *testing.T) (int, int) { return tcp(t, unix.SOCK_NONBLOCK) }},
	{"unix", func(t *testing.T) (int, int) { return socketpair(t, unix.SOCK_STREAM) }},
	{"unix non-blocking", func(t *testing.T) (int, int) {
		server, client := socketpair(t, unix.SOCK_STREAM)
		must(t, unix.SetNonblock(server, true))
		return server, client
	}},
}

func tcp(t *testing.T, flags int) (server, client int) {
	l, address := listener(t, 0)
	client = connect(t, address)
	server, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC|flags)
	must(t, err)
	return own(t, server), client
}

const megabytes = 4 << 20

// Echo gives back every byte, in order, and ends when its client does.
func TestEcho(t *testing.T) {
	data := random(megabytes)
	for _, stream := range streams {
		t.Run(stream.name, func(t *testing.T) {
			server, client := stream.make(t)
			pid, err := rawfork.Serve(server, child.Echo)
			must(t, err)
			drop(server)
			sent := make(chan error, 1)
			go func() { sent <- send(client, data) }()
			hash := sha256.New()
			n, err := io.Copy(hash, duplicate(t, client))
			if err != nil || n != int64(len(data)) || [32]byte(hash.Sum(nil)) != sha256.Sum256(data) {
				t.Errorf("received %d bytes, error %v, want the %d that were sent", n, err, len(data))
			}
			must(t, <-sent)
			forktest.WantExit(t, pid, 0)
		})
	}
}

// Discard takes everything.
func TestDiscard(t *testing.T) {
	data := random(megabytes)
	for _, stream := range streams {
		t.Run(stream.name, func(t *testing.T) {
			server, client := stream.make(t)
			pid, err := rawfork.Serve(server, child.Discard)
			must(t, err)
			drop(server)
			must(t, send(client, data))
			if left := all(t, client); len(left) != 0 {
				t.Errorf("Discard sent %d bytes", len(left))
			}
			forktest.WantExit(t, pid, 0)
		})
	}
}

// send writes all of data and then the end of the stream.
func send(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		data = data[n:]
	}
	return unix.Shutdown(fd, unix.SHUT_WR)
}

// duplicate is a file of a copy of fd, closed after the test.
func duplicate(t *testing.T, fd int) *os.File {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	file := os.NewFile(uintptr(dup), "")
	t.Cleanup(func() { file.Close() })
	return file
}

// Copy from each kind of source to a pipe: all of it, and it says how much.
//
//go:norace
func TestCopy(t *testing.T) {
	data := random(megabytes)
	for _, stream := range streams {
		t.Run(stream.name, func(t *testing.T) { copyToPipe(t, stream.make, data) })
	}
}

//go:norace
func copyToPipe(t *testing.T, connection func(t *testing.T) (int, int), data []byte) {
	type results struct {
		Written int64
		Errno   syscall.Errno
	}
	got := shared[results](t)
	server, client := connection(t)
	r, w := pipe(t, unix.O_NONBLOCK)
	must(t, unix.SetNonblock(w, true))
	pid := fork(t)
	if pid == 0 {
		if child.KeepOnly(0, 1, 2, server, w) != 0 {
			child.Exit(1)
		}
		got.Written, got.Errno = child.Copy(w, server)
		child.Exit(0)
	}
	drop(server)
	drop(w)
	sent := make(chan error, 1)
	go func() { sent <- send(client, data) }()
	waitInCall(t, pid, unix.SYS_PPOLL) // nobody reads yet: the pipe is full
	received := all(t, r)
	must(t, <-sent)
	forktest.WantExit(t, pid, 0)
	if diff := cmp.Diff(results{int64(len(data)), 0}, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if sha256.Sum256(received) != sha256.Sum256(data) {
		t.Errorf("received %d bytes that aren't those that were sent", len(received))
	}
}

// Echo ends when its client is gone, whether by RST or by SIGPIPE's errno.
func TestEchoClientGone(t *testing.T) {
	server, client := tcp(t, 0)
	must(t, unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	pid, err := rawfork.Serve(server, child.Echo)
	must(t, err)
	drop(server)
	drop(client) // a reset
	forktest.WantExit(t, pid, 0)
}
