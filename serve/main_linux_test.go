//go:build cgo && (amd64 || arm64)

package serve_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rawfork/helper"
	"rawfork/internal/forktest"
	"rawfork/serve"
)

// The functions that the Go children of the tests run.
func init() {
	helper.Register("echo", func(files []*os.File) int {
		conn, err := net.FileConn(files[0])
		if err != nil {
			return 1
		}
		io.Copy(conn, conn)
		return 0
	})
}

func TestMain(m *testing.M) {
	helper.Init()
	forktest.Main(m, map[string]func(){
		"few processes":   fewProcesses,
		"few descriptors": fewDescriptors,
		"echo server":     echoServer,
		"echo pool":       echoPool,
		"no memory":       noMemory,
		"no helper":       noHelper,
		"killed":          killedServer,
		"killed pool":     killedPool,
		"inherited":       inherited,
	})
}

// listen listens on a free port of loopback, or on a Unix socket.
func listen(t testing.TB, network string) net.Listener {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "socket")
	}
	listener, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// running is a server that serves.
type running struct {
	*serve.Server
	t      testing.TB
	addr   net.Addr
	served chan error // gets what Serve returned, once
	over   bool
}

// run has a server serve until the test ends, or stop is called.
func run(t testing.TB, server *serve.Server) *running { return runOn(t, server, listen(t, "tcp")) }

func runOn(t testing.TB, server *serve.Server, listener net.Listener) *running {
	t.Helper()
	r := &running{Server: server, t: t, addr: listener.Addr(), served: make(chan error, 1)}
	go func() { r.served <- server.Serve(listener) }()
	t.Cleanup(func() { r.stop(forktest.Watchdog) })
	return r
}

// stop shuts the server down. A second call does nothing.
func (r *running) stop(patience time.Duration) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := r.Shutdown(ctx)
	if r.over {
		return err
	}
	r.over = true
	select {
	case served := <-r.served:
		if !errors.Is(served, serve.ErrServerClosed) {
			r.t.Errorf("Serve: %v, want %v", served, serve.ErrServerClosed)
		}
	case <-time.After(forktest.Watchdog):
		r.t.Fatalf("Serve hasn't returned %v after Shutdown", forktest.Watchdog)
	}
	return err
}

// dial connects. What is done with the connection ends within the watchdog's time.
func dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(forktest.Watchdog))
	return conn
}

// exchange sends n random bytes, closes its side, and fails the test unless it gets
// the same bytes and the end.
func exchange(t testing.TB, conn net.Conn, n int) {
	t.Helper()
	if err := tryExchange(conn, n); err != nil {
		t.Error(err)
	}
}

func tryExchange(conn net.Conn, n int) error {
	defer conn.Close()
	sent := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(sent)
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		if err == nil {
			err = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
		failed <- err
	}()
	got, err := io.ReadAll(conn)
	if err := errors.Join(err, <-failed); err != nil {
		return fmt.Errorf("%d bytes sent, %d came back: %w", n, len(got), err)
	}
	if sha256.Sum256(sent) != sha256.Sum256(got) {
		return fmt.Errorf("%d bytes sent, %d came back, and not the same", n, len(got))
	}
	return nil
}

// begin connects and has one byte echoed: the child of the connection is there.
func begin(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	conn := dial(t, addr)
	b := []byte("x")
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	return conn
}

// wantEnd fails the test unless the peer has closed or reset the connection.
func wantEnd(t testing.TB, conn net.Conn) {
	t.Helper()
	got, err := io.ReadAll(conn)
	var netErr net.Error
	if len(got) > 0 || errors.As(err, &netErr) && netErr.Timeout() {
		t.Errorf("read %q, %v, want the end", got, err)
	}
	conn.Close()
}

// safeBuffer is a buffer that several goroutines may use.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
