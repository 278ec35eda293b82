//go:build linux && cgo && (amd64 || arm64)

package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rawfork/examples/internal/turn"
	"rawfork/internal/forktest"
	"rawfork/internal/ps"
)

// server is a running echoserver.
type server struct {
	cmd    *exec.Cmd
	addr   string
	stdout *bufio.Reader
	stderr *bytes.Buffer
}

// testEchoserver has clients of all kinds at one server, then stops it.
func testEchoserver(t *testing.T, program string) {
	t.Run("clients", func(t *testing.T) {
		s := start(t, program)
		open := s.descriptors(t, s.cmd.Process.Pid)
		slow := s.dial(t)
		echo(t, slow, []byte("s"))
		s.wantAlone(t)

		const each = 40
		var all sync.WaitGroup
		for i := range each {
			conns := []*net.TCPConn{s.dial(t), s.dial(t), s.dial(t)}
			all.Go(func() { // sends much and reads it back
				echo(t, conns[0], bytes.Repeat([]byte{byte(i)}, 256<<10))
				conns[0].Close()
			})
			all.Go(func() { // cut off: resets its connection with an answer unread
				conns[1].SetLinger(0)
				conns[1].Write(bytes.Repeat([]byte{byte(i)}, 64<<10))
				conns[1].Close()
			})
			all.Go(func() { // says that it has sent all, and reads to the end
				conns[2].Write([]byte("bye"))
				conns[2].CloseWrite()
				if got, err := io.ReadAll(conns[2]); err != nil || string(got) != "bye" {
					t.Errorf("read to the end: %q, %v, want \"bye\"", got, err)
				}
				conns[2].Close()
			})
		}
		all.Wait() // the slow one has stopped nobody

		s.eventually(t, "the slow client's child is the only one", func() bool {
			return len(s.children(t)) == 1
		})
		if now := s.descriptors(t, s.cmd.Process.Pid); now != open {
			t.Errorf("the server has %d descriptors, want %d as before", now, open)
		}
		s.signal(t, syscall.SIGTERM)
		s.eventuallyClosed(t)
		echo(t, slow, []byte("still served"))
		slow.Close()
		s.wantEnd(t, 1+3*each)
	})
	t.Run("second signal", func(t *testing.T) {
		s := start(t, program)
		client := s.dial(t)
		echo(t, client, []byte("hello"))
		s.signal(t, syscall.SIGINT)
		s.eventuallyClosed(t)
		echo(t, client, []byte("still served"))
		// A dial that only wanted to know whether the listener is closed may have a child.
		var orphan []int
		s.eventually(t, "the client's child is the only one", func() bool {
			orphan = s.children(t)
			return len(orphan) == 1
		})
		s.signal(t, syscall.SIGINT)
		if err := turn.AwaitEnd(s.cmd.Process.Pid); err != nil {
			t.Error(err)
		}
		echo(t, client, []byte("still served"))
		client.Close()
		// The orphan goes to the nearest subreaper, which is this test.
		for _, pid := range orphan {
			forktest.WantExit(t, pid, 0)
		}
		s.cmd.Wait()
		if got := forktest.Describe(s.cmd.ProcessState.Sys().(syscall.WaitStatus)); got != "killed by interrupt" {
			t.Errorf("server: %s, want killed by interrupt", got)
		}
	})
	t.Run("no clients", func(t *testing.T) {
		s := start(t, program)
		s.signal(t, syscall.SIGTERM)
		s.wantEnd(t, 0)
	})
}

// start starts a server and takes its address from its first line.
func start(t *testing.T, program string, args ...string) *server {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	s := &server{cmd: command(ctx, program, args...), stderr: new(bytes.Buffer)}
	s.cmd.Stderr = s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdout = bufio.NewReader(stdout)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after a failure: the server, and children that it forked
		if s.cmd.ProcessState == nil {
			for _, pid := range append(s.children(t), s.cmd.Process.Pid) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			s.cmd.Wait()
		}
	})
	line, err := s.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("%v, stderr: %s", err, s.stderr)
	}
	var ok bool
	if s.addr, ok = strings.CutPrefix(strings.TrimSpace(line), "listening on "); !ok {
		t.Fatalf("first line %q", line)
	}
	return s
}

func (s *server) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.addr, limit)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(limit))
	return conn.(*net.TCPConn)
}

// echo sends data and reads it back.
func echo(t *testing.T, conn net.Conn, data []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	if n, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("echo of %d bytes: %d bytes, %v", len(data), n, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// wantAlone checks that the first client's child has given up all but the three
// standard descriptors and its connection.
func (s *server) wantAlone(t *testing.T) {
	t.Helper()
	children := s.children(t)
	if len(children) != 1 {
		t.Fatalf("children %v, want one", children)
	}
	if n := s.descriptors(t, children[0]); n != 4 {
		t.Errorf("the child has %d descriptors, want 4", n)
	}
}

func (s *server) children(t *testing.T) []int {
	t.Helper()
	children, err := ps.Children(s.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return children
}

func (s *server) descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// eventually waits for something that the server does in its own time and tells
// nobody of.
func (s *server) eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.After(limit)
	for tick := time.NewTicker(5 * time.Millisecond); !is(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not after %v: %s; children %v, stderr: %s", limit, what, s.children(t), s.stderr)
		}
	}
}

func (s *server) eventuallyClosed(t *testing.T) {
	t.Helper()
	s.eventually(t, "the listener is closed", func() bool {
		conn, err := net.DialTimeout("tcp", s.addr, limit)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func (s *server) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// wantEnd waits for the end of the server, which must leave nothing behind and
// have served so many connections at least: a dial that only wanted to know
// whether the listener is closed may have been one more.
func (s *server) wantEnd(t *testing.T, served int) {
	t.Helper()
	rest, err := io.ReadAll(s.stdout)
	if err != nil {
		t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil || s.stderr.Len() > 0 {
		t.Errorf("%v, stderr: %s", err, s.stderr)
	}
	var got int
	if _, err := fmt.Sscanf(string(rest), "stopped after %d connections\n", &got); err != nil || got < served {
		t.Errorf("last line %q, %v, want at least %d connections", rest, err, served)
	}
}
