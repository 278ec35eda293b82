//go:build cgo && (amd64 || arm64)

package serve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/serve"
)

// pool has a pool serve until the test ends.
func pool(t testing.TB, p *serve.Pool, listeners ...net.Listener) net.Addr {
	t.Helper()
	if len(listeners) == 0 {
		listeners = []net.Listener{listen(t, "tcp")}
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(listeners...) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), forktest.Watchdog)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != serve.ErrServerClosed {
			t.Errorf("Serve: %v, want %v", err, serve.ErrServerClosed)
		}
	})
	return listeners[0].Addr()
}

// many has n clients exchange, a few at a time.
func many(t testing.TB, addr net.Addr, n int) {
	t.Helper()
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for j := range n / 4 {
				conn, err := net.Dial(addr.Network(), addr.String())
				if err != nil {
					t.Error(err)
					return
				}
				conn.SetDeadline(time.Now().Add(forktest.Watchdog))
				if err := tryExchange(conn, 1000*i+j); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
}

func TestPool(t *testing.T) {
	reusePort := func(t *testing.T) []net.Listener {
		listeners, err := serve.ListenReusePort("tcp", "127.0.0.1:0", 2)
		if err != nil {
			t.Fatal(err)
		}
		return listeners
	}
	one := func(t *testing.T) []net.Listener { return []net.Listener{listen(t, "tcp")} }
	socket := func(t *testing.T) []net.Listener { return []net.Listener{listen(t, "unix")} }
	for _, test := range []struct {
		name   string
		pool   *serve.Pool
		listen func(*testing.T) []net.Listener
	}{
		{"accept", &serve.Pool{}, one},
		{"accept/unix", &serve.Pool{}, socket},
		{"accept/reuseport", &serve.Pool{}, reusePort},
		{"hand over", &serve.Pool{HandOver: true}, one},
		{"hand over/unix", &serve.Pool{HandOver: true}, socket},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := test.pool
			p.Handler, p.Children = child.Echo, 3
			const n = 40
			listeners := test.listen(t)
			addr := pool(t, p, listeners...)
			many(t, addr, n)
			if err := p.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			want := serve.PoolCounts{Started: 3, Connections: n}
			got := p.Counts()
			got.Exits = nil
			if got.String() != want.String() {
				t.Errorf("counts: %v, want %v", got, want)
			}
		})
	}
}

// After its connections a child is replaced, and nobody notices.
func TestPoolRecycles(t *testing.T) {
	p := &serve.Pool{Handler: child.Echo, Children: 2, MaxConnections: 5}
	many(t, pool(t, p), 40)
	p.Shutdown(context.Background())
	if c := p.Counts(); c.Recycled < 6 || c.Died > 0 || c.Connections != 40 {
		t.Errorf("counts: %v, want 40 connections, at least 6 recycled and none that died", c)
	}
}

// big is memory that the child has a copy of only when it writes to it.
var big = make([]byte, 8<<20)

// grow writes to big.
//
//go:nosplit
//go:norace
func grow(fd int) {
	for i := 0; i < len(big); i += 4096 {
		big[i]++
	}
	child.Echo(fd)
}

func TestPoolRecyclesByMemory(t *testing.T) {
	p := &serve.Pool{Handler: grow, Children: 1, MaxGrowth: 4 << 20}
	many(t, pool(t, p), 4)
	p.Shutdown(context.Background())
	if c := p.Counts(); c.Recycled != 4 {
		t.Errorf("counts: %v, want 4 recycled", c)
	}
}

// A child that dies is replaced, and after the first few not at once.
func TestPoolReplaces(t *testing.T) {
	for _, handOver := range []bool{false, true} {
		t.Run(fmt.Sprint("hand over ", handOver), func(t *testing.T) {
			p := &serve.Pool{Handler: crash, Children: 2, HandOver: handOver}
			addr := pool(t, p)
			const n = 6
			for range n {
				conn := dial(t, addr)
				conn.Write([]byte("s"))
				wantEnd(t, conn)
			}
			conn := dial(t, addr)
			conn.Write([]byte("."))
			exchange(t, conn, 1000)
			eventually(t, func() bool { c := p.Counts(); return c.Died == n && c.Children == 2 })
			if c := p.Counts(); c.Died != n || c.Started != n+2 {
				t.Errorf("counts: %v, want %d that died and %d started", c, n, n+2)
			}
		})
	}
}

// A connection wakes no thread of the pool's process but that which hands it over; and a
// listener that somebody closes is the children's all the same, of those to come, too.
func TestPoolHasListener(t *testing.T) {
	for _, handOver := range []bool{false, true} {
		t.Run(fmt.Sprint("hand over ", handOver), func(t *testing.T) {
			listener := listen(t, "tcp")
			if !watched(t, listener) {
				t.Error("package net doesn't watch a listener: the test shows nothing")
			}
			addr := pool(t, &serve.Pool{Handler: crash, Children: 1, HandOver: handOver}, listener)
			eventually(t, func() bool { return !watched(t, listener) })
			listener.Close()
			conn := dial(t, addr)
			conn.Write([]byte("s"))
			wantEnd(t, conn)
			next := dial(t, addr)
			next.Write([]byte("."))
			exchange(t, next, 1000)
		})
	}
}

// watched tells whether an epoll set of this process has the listener.
func watched(t *testing.T, listener net.Listener) (is bool) {
	t.Helper()
	err := rawfork.WithFD(listener, func(fd int) error {
		names, err := filepath.Glob("/proc/self/fdinfo/*")
		for _, name := range names {
			text, _ := os.ReadFile(name) // one may be gone
			is = is || bytes.Contains(text, fmt.Appendf(nil, "tfd: %8d ", fd))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// impatient gives a client that sends an h a deadline, and hangs.
//
//go:nosplit
//go:norace
func impatient(fd int) {
	var b [1]byte
	child.Read(fd, b[:])
	if b[0] == 'h' {
		timer := [4]uint64{3: 10_000} // no interval, 10 ms
		child.Syscall(unix.SYS_SETITIMER, uintptr(unix.ITIMER_REAL), addressOf(&timer[0]), 0, 0, 0, 0)
		for {
			child.Pause()
		}
	}
	child.Echo(fd)
}

// A deadline that a handler has set ends its child, and the next client is served.
func TestPoolDeadline(t *testing.T) {
	p := &serve.Pool{Handler: impatient, Children: 1}
	addr := pool(t, p)
	slow := dial(t, addr)
	slow.Write([]byte("h"))
	wantEnd(t, slow)
	next := dial(t, addr)
	next.Write([]byte("."))
	exchange(t, next, 1000)
	p.Shutdown(context.Background())
	if c := p.Counts(); c.Died != 1 || c.Exits[syscall.WaitStatus(syscall.SIGALRM)] != 1 {
		t.Errorf("counts: %v, want one end by SIGALRM", c)
	}
}

// Reloads under load lose no connection.
func TestPoolReload(t *testing.T) {
	for _, handOver := range []bool{false, true} {
		t.Run(fmt.Sprint("hand over ", handOver), func(t *testing.T) {
			p := &serve.Pool{Handler: child.Echo, Children: 2, HandOver: handOver}
			addr := pool(t, p)
			slow := begin(t, addr)
			over := make(chan struct{})
			go func() { defer close(over); many(t, addr, 80) }()
			for range 5 {
				if err := p.Reload(); err != nil {
					t.Error(err)
				}
			}
			<-over
			exchange(t, slow, 1000) // by a child of the first generation
			// A child counts a connection when it has closed it.
			eventually(t, func() bool { c := p.Counts(); return c.Exits[0] == 10 && c.Children == 2 && c.Connections >= 81 })
			if c := p.Counts(); c.Connections != 81 || c.Started != 12 || c.Died > 0 {
				t.Errorf("counts: %v, want 81 connections, 12 children started and none that died", c)
			}
		})
	}
}

// A client that goes away in the middle ends no child.
func TestPoolClientCutOff(t *testing.T) {
	p := &serve.Pool{Handler: child.Echo, Children: 1}
	addr := pool(t, p)
	for range 5 {
		conn := dial(t, addr).(*net.TCPConn)
		conn.SetLinger(0)
		conn.Write(make([]byte, 100_000))
		conn.Close()
	}
	exchange(t, dial(t, addr), 1000)
	eventually(t, func() bool { return p.Counts().Started > 0 }) // the child may be faster than its parent
	if c := p.Counts(); c.Died > 0 || c.Started != 1 {
		t.Errorf("counts: %v, want one child that lives", c)
	}
}

func TestPoolShutdownTerminates(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler func(int)
		grace   time.Duration
		want    syscall.WaitStatus
	}{
		{"slow", child.Echo, forktest.Watchdog, syscall.WaitStatus(syscall.SIGTERM)},
		{"stubborn", stubborn, 10 * time.Millisecond, syscall.WaitStatus(syscall.SIGKILL)},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &serve.Pool{Handler: test.handler, Children: 1, Grace: test.grace}
			conn := begin(t, pool(t, p))
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := p.Shutdown(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
			}
			wantEnd(t, conn)
			if c := p.Counts(); c.Exits[test.want] != 1 || c.Children > 0 {
				t.Errorf("counts: %v, want one end by %v", c, test.want.Signal())
			}
		})
	}
}

// A pool whose process is killed leaves nobody behind, also nobody who serves.
func TestPoolKilled(t *testing.T) {
	server := remote(t, "killed pool")
	conns := []net.Conn{begin(t, server.addr), begin(t, server.addr)}
	if err := server.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		wantEnd(t, conn)
	}
	server.cmd.Wait()
	reapOrphans(t) // returns when all are dead
}

func killedPool() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	p := &serve.Pool{Handler: child.Echo, Children: 4}
	go p.Serve(listener)
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}

func TestPoolBadInput(t *testing.T) {
	listener := listen(t, "tcp")
	gone := listen(t, "tcp")
	gone.Close()
	for _, test := range []struct {
		what      string
		pool      *serve.Pool
		listeners []net.Listener
		want      error
	}{
		{"no handler", &serve.Pool{Children: 1}, []net.Listener{listener}, syscall.EINVAL},
		{"no children", &serve.Pool{Handler: child.Echo}, []net.Listener{listener}, syscall.EINVAL},
		{"too many children", &serve.Pool{Handler: child.Echo, Children: 1001}, []net.Listener{listener}, syscall.EINVAL},
		{"negative limit", &serve.Pool{Handler: child.Echo, Children: 1, MaxConnections: -1}, []net.Listener{listener}, syscall.EINVAL},
		{"no listener", &serve.Pool{Handler: child.Echo, Children: 1}, nil, syscall.EINVAL},
		{"too many listeners", &serve.Pool{Handler: child.Echo, Children: 1}, []net.Listener{listener, listener}, syscall.EINVAL},
		{"closed listener", &serve.Pool{Handler: child.Echo, Children: 1}, []net.Listener{gone}, net.ErrClosed},
	} {
		if err := test.pool.Serve(test.listeners...); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.what, err, test.want)
		}
		if err := test.pool.Reload(); !errors.Is(err, serve.ErrServerClosed) {
			t.Errorf("%s: Reload: %v, want %v", test.what, err, serve.ErrServerClosed)
		}
		if err := test.pool.Shutdown(context.Background()); err != nil {
			t.Errorf("%s: Shutdown: %v", test.what, err)
		}
	}
	if _, err := serve.ListenReusePort("tcp", "127.0.0.1:0", 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no listeners: %v, want EINVAL", err)
	}
	if _, err := serve.ListenReusePort("tcp", listener.Addr().String(), 2); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("address in use: %v, want EADDRINUSE", err)
	}
}
