//go:build linux && cgo && (amd64 || arm64)

package examples_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// client is an HTTP client with connections of its own, one at a time.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{MaxConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: limit}
}

// get returns what the server answers, but for a connection that broke.
func (s *server) get(c *http.Client, path string) (string, error) {
	response, err := c.Get("http://" + s.addr + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// testGoserver: each connection has a child of its own, for all of its requests.
func testGoserver(t *testing.T, program string) {
	s := start(t, program)
	slow := s.dial(t) // connects, and says nothing
	defer slow.Close()
	const clients = 12
	var mu sync.Mutex
	var all sync.WaitGroup
	served := map[int]int{} // requests by child
	for i := range clients {
		c := client(t)
		all.Go(func() {
			for range 2 {
				text, err := s.get(c, fmt.Sprint("/", i))
				var pid, parent int
				if _, scanErr := fmt.Sscanf(text, fmt.Sprintf("GET /%d: served by pid %%d, a child of pid %%d\n", i), &pid, &parent); err != nil || scanErr != nil || parent != s.cmd.Process.Pid {
					t.Errorf("client %d: %q, %v, %v", i, text, err, scanErr)
				}
				mu.Lock()
				served[pid]++
				mu.Unlock()
			}
			c.CloseIdleConnections()
		})
	}
	all.Wait()
	for pid, requests := range served {
		if len(served) != clients || requests != 2 {
			t.Errorf("child %d had %d requests, of %d children", pid, requests, len(served))
		}
	}
	slow.Close()
	s.wantStopped(t, "stopped\n")
}

// testPrefork: children that are there ahead serve all connections, and one that dies
// is replaced.
func testPrefork(t *testing.T, program string) {
	s := start(t, program)
	seen := map[string]bool{}
	for range 5 {
		if _, err := s.get(client(t), "/crash"); err == nil {
			t.Error("the answer of a child that ended")
		}
		for range 10 {
			text, err := s.get(client(t), "/hello")
			if !strings.HasPrefix(text, "/hello: served by pid ") || err != nil {
				t.Errorf("%q, %v", text, err)
			}
			seen[text] = true
		}
	}
	if len(seen) < 2 || len(seen) > 3+5 {
		t.Errorf("%d children served, want a few", len(seen))
	}
	rest := s.wantStopped(t, "")
	crashed, ended := strings.Count(rest, ": exit status 3\n"), strings.Count(rest, ": signal: terminated\n")
	if crashed != 5 || ended != 3 && ended != 2 { // the last may not have been replaced yet
		t.Errorf("%d children crashed and %d were ended, want 5 and 3:\n%s", crashed, ended, rest)
	}
}

// wantStopped ends a server and returns the rest of its output.
func (s *server) wantStopped(t *testing.T, want string) string {
	t.Helper()
	s.signal(t, syscall.SIGTERM)
	rest, err := io.ReadAll(s.stdout)
	if err := s.cmd.Wait(); err != nil || s.stderr.Len() > 0 {
		t.Errorf("%v, stderr: %s", err, s.stderr)
	}
	if err != nil || want != "" && string(rest) != want {
		t.Errorf("rest of the output %q, %v, want %q", rest, err, want)
	}
	return string(rest)
}
