//go:build cgo && (amd64 || arm64)

package serve_test

import (
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"rawfork/internal/forktest"
	"rawfork/serve"
)

// Many clients at once, of whom every second is slow, one in ten is cut off in the
// middle, and one in ten has its child crash or exit badly: every byte of the
// undisturbed ones comes back, and the counts are what the clients saw.
func TestLoad(t *testing.T) {
	n := 40
	if text := os.Getenv("RAWFORK_SOAK_CLIENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	server := run(t, &serve.Server{Handler: serve.Fork(crash), MaxChildren: 50})
	var clients sync.WaitGroup
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
			}
			conn.Write([]byte(first))
			switch {
			case first != ".":
				conn.Read(make([]byte, 1)) // until the child's end
				conn.Close()
			case i%10 == 5: // cut off
				conn.Write(make([]byte, 10_000))
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			default:
				if i%2 == 0 {
					time.Sleep(100 * time.Millisecond) // slow, not to wait for anything
				}
				if err := tryExchange(conn, 100*i); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	clients.Wait()
	if err := server.stop(10 * forktest.Watchdog); err != nil {
		t.Error(err)
	}
	c := server.Counts()
	// One that was cut off while it waited in the queue may never be accepted.
	cut := n / 10
	if c.Accepted < n-cut || c.Accepted > n || c.Served() != c.Accepted || c.Dropped > 0 || c.Refused > 0 || c.Active > 0 {
		t.Errorf("counts: %v, want %d clients served", c, n)
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
