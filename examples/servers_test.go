//go:build linux && cgo && (amd64 || arm64)

package examples_test

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// serverExamples are the servers that testServers tests.
var serverExamples = []string{"forkserver", "inetd", "asyncecho", "lockserver"}

func testServers(t *testing.T, bin string) {
	t.Run("forkserver", func(t *testing.T) {
		s := start(t, filepath.Join(bin, "forkserver"))
		echoClients(t, s)
		if last := s.stop(t, syscall.SIGTERM); !strings.HasPrefix(last, "accepted 21, active 0, ") {
			t.Errorf("last line %q, want 21 accepted", last)
		}
	})
	t.Run("forkserver with a program", func(t *testing.T) {
		s := start(t, filepath.Join(bin, "forkserver"), "-handler", "wc")
		if got := ask(t, s.dial(t), "hello\n"); got != "6\n" {
			t.Errorf("%q, want 6", got)
		}
		s.stop(t, syscall.SIGTERM)
	})
	t.Run("forkserver with a deadline", func(t *testing.T) {
		s := start(t, filepath.Join(bin, "forkserver"), "-timeout", "100ms")
		slow := s.dial(t)
		if got, err := io.ReadAll(slow); len(got) > 0 || err != nil {
			t.Errorf("slow client: %q, %v, want the end", got, err)
		}
		slow.Close()
		s.stop(t, syscall.SIGINT, "why=deadline")
	})
	t.Run("inetd", func(t *testing.T) {
		s := start(t, filepath.Join(bin, "inetd"), "tr", "a-z", "A-Z")
		for range 3 {
			if got := ask(t, s.dial(t), "hello\n"); got != "HELLO\n" {
				t.Errorf("%q, want HELLO", got)
			}
		}
		s.stop(t, syscall.SIGTERM)
	})
	t.Run("asyncecho", func(t *testing.T) {
		s := start(t, filepath.Join(bin, "asyncecho"))
		echoClients(t, s)
		s.stop(t, syscall.SIGTERM)
	})
	t.Run("lockserver", func(t *testing.T) {
		s := start(t, filepath.Join(bin, "lockserver"))
		for _, client := range []struct{ sent, want string }{
			{"", "you are client 1\n"},
			{"", "you are client 2\n"},
			{"d", ""}, // one byte: of more, what the child leaves unread would reset the connection
			{"", "the one before you died with the mutex; you are client 4\n"},
			{"", "you are client 5\n"},
		} {
			if got := ask(t, s.dial(t), client.sent); got != client.want {
				t.Errorf("%q, want %q", got, client.want)
			}
		}
		s.stop(t, syscall.SIGTERM)
	})
}

// echoClients has a slow client, and twenty others meanwhile.
func echoClients(t *testing.T, s *server) {
	t.Helper()
	slow := s.dial(t)
	echo(t, slow, []byte("s"))
	for i := range 20 {
		conn := s.dial(t)
		echo(t, conn, make([]byte, i*1000))
		conn.Close()
	}
	echo(t, slow, []byte("still there"))
	slow.Close()
}

// ask sends a text and returns the answer; one that is cut off is empty.
func ask(t *testing.T, conn *net.TCPConn, text string) string {
	t.Helper()
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Error(err)
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// stop ends a server and returns the rest of what it prints. Its log has the words, and
// without words is empty.
func (s *server) stop(t *testing.T, signal syscall.Signal, words ...string) string {
	t.Helper()
	s.signal(t, signal)
	rest, err := io.ReadAll(s.stdout)
	if err != nil {
		t.Error(err)
	}
	err = s.cmd.Wait()
	log := s.stderr.String()
	if err != nil || (log == "") != (len(words) == 0) || !strings.Contains(log, strings.Join(words, " ")) {
		t.Errorf("%v, stderr: %s, want one with %q", err, log, words)
	}
	return string(rest)
}
