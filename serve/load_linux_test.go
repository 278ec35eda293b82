//go:build cgo && (amd64 || arm64)

package serve_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/internal/ps"
	"rawfork/serve"
)

// Many clients at once, of whom half are slow, one in ten is cut off in the middle, one
// in ten has its child crash or exit badly, and one in twenty has it hang: every byte of
// the undisturbed ones comes back, and the counts are what the clients saw.
func TestLoad(t *testing.T) {
	n := soak(t, "RAWFORK_SOAK_CLIENTS", 40) // a multiple of 20
	server := run(t, &serve.Server{Handler: serve.Fork(crash), MaxChildren: 50 + n/20})
	var clients sync.WaitGroup
	hanging := make(chan net.Conn, n)
	for i := range n {
		clients.Go(func() {
			conn, err := net.Dial("tcp", server.addr.String())
			if err != nil {
				t.Error(err)
				return
			}
			conn.SetDeadline(time.Now().Add(10 * forktest.Watchdog))
			first := "."
			switch i % 20 {
			case 0:
				first = "s"
			case 10:
				first = "e"
			case 1:
				first = "h"
			}
			conn.Write([]byte(first))
			switch {
			case first == "h":
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
				hanging <- conn
			case first != ".":
				conn.Read(make([]byte, 1)) // until the child's end
				conn.Close()
			case i%10 == 5: // cut off
				conn.Write(make([]byte, 10_000))
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			default:
				if i%2 == 0 || i%10 == 9 {
					time.Sleep(100 * time.Millisecond) // slow, not to wait for anything
				}
				if err := tryExchange(conn, 100*i); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	clients.Wait()
	close(hanging)
	hang := len(hanging)
	eventually(t, func() bool { return server.Counts().Active == hang })
	if err := server.stop(0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown with children that hang: %v, want %v", err, context.DeadlineExceeded)
	}
	for conn := range hanging {
		wantEnd(t, conn)
	}
	c := server.Counts()
	// One that was cut off while it waited in the queue may never be accepted, or late.
	cut := n / 10
	if c.Accepted < n-cut || c.Accepted > n || c.Served() != c.Accepted || c.Dropped > 0 || c.Refused > 0 || c.Active > 0 {
		t.Errorf("counts: %v, want %d clients served", c, n)
	}
	if c.Terminated < hang || c.Terminated > hang+cut {
		t.Errorf("counts: %v, want %d children that hung terminated", c, hang)
	}
	bad := 0
	for status, count := range c.Exits {
		if status.ExitStatus() == 9 || status.Signaled() && status.Signal() == 11 {
			bad += count
		}
	}
	if bad != n/10 {
		t.Errorf("counts: %v, want %d crashes and bad ends", c, n/10)
	}
}

// So many children are there at once, more than the loop has room for on its page, and
// all end at the same time: each is reaped, once.
func TestManyAtOnce(t *testing.T) {
	n := soak(t, "RAWFORK_SOAK_AT_ONCE", 30)
	server := remote(t, "echo server")
	server.watchdog.Reset(2*forktest.Watchdog + time.Duration(n)*50*time.Millisecond)
	children := func() int {
		pids, err := ps.Children(server.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return len(pids)
	}
	var conns []net.Conn
	for range n {
		conns = append(conns, begin(t, server.addr))
	}
	if got := children(); got != n {
		t.Errorf("%d children, want %d at once", got, n)
	}
	for _, conn := range conns {
		conn.Close()
	}
	eventually(t, func() bool { return children() == 0 })
	server.end()
}

// soak is how much a test does: little, or what the environment says.
func soak(t *testing.T, variable string, little int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv(variable), strconv.Itoa(little)))
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// A server's memory doesn't grow with the connections that it has served, nor do its
// descriptors.
func TestMemoryFlat(t *testing.T) {
	n := soak(t, "RAWFORK_SOAK_CONNECTIONS", 90)
	for name, children := range map[string]int{"echo server": 0, "echo pool": poolChildren} {
		t.Run(name, func(t *testing.T) {
			server := remote(t, name)
			server.watchdog.Reset(2*forktest.Watchdog + time.Duration(n)*50*time.Millisecond)
			pid := server.cmd.Process.Pid
			idle := func() bool {
				pids, err := ps.Children(pid)
				return err == nil && len(pids) == children
			}
			many(t, server.addr, n/3) // until all is there that is made once
			eventually(t, idle)
			memory, descriptors := footprint(t, pid)
			many(t, server.addr, n-n/3)
			eventually(t, idle)
			const room = 3 << 20 // what a garbage collection more or less may do
			memoryNow, descriptorsNow := footprint(t, pid)
			t.Logf("%d connections more: memory %+d kB, descriptors %+d", n-n/3, (memoryNow-memory)>>10, descriptorsNow-descriptors)
			if memoryNow > memory+room || descriptorsNow > descriptors+poolChildren { // one of the pool may end or be replaced
				t.Errorf("memory %d, then %d bytes; %d, then %d descriptors", memory, memoryNow, descriptors, descriptorsNow)
			}
			server.end()
		})
	}
}

// footprint is how much memory of its own a process has, and how many descriptors.
func footprint(t *testing.T, pid int) (memory, descriptors int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "RssAnon:")
	if _, err := fmt.Sscan(line, &memory); err != nil {
		t.Fatalf("RssAnon of %s: %v", status, err)
	}
	open, err := os.ReadDir(dir + "fd")
	if err != nil {
		t.Fatal(err)
	}
	return memory << 10, len(open)
}

// echoServer is the server of TestManyAtOnce and TestMemoryFlat.
func echoServer() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 20_000}
	serveUntilTold(server, listener, func(c serve.Counts) error {
		if c.Served() != c.Accepted || c.Dropped > 0 || c.FailedForks > 0 {
			return fmt.Errorf("counts: %v, want all served", c)
		}
		return nil
	})
}

const poolChildren = 4

// echoPool is the pool of TestMemoryFlat. Its children are replaced all the time.
func echoPool() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	pool := &serve.Pool{Handler: child.Echo, Children: poolChildren, MaxConnections: 20}
	served := make(chan error, 1)
	go func() { served <- pool.Serve(listener) }()
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
	must(pool.Shutdown(context.Background()))
	if err := <-served; err != serve.ErrServerClosed {
		must(err)
	}
	if c := pool.Counts(); c.Died > 0 || c.Recycled == 0 {
		must(fmt.Errorf("counts: %v, want recycled children, and none that died", c))
	}
	fmt.Println("ok")
}
