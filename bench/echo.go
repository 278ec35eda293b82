//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"bufio"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// clients is how many connections are made at once, connsATurn how many in all
// before it is the other server's turn.
const (
	clients    = 4
	connsATurn = 100
	patience   = 30 * time.Second
)

//go:embed peers/echo.c
var echoC string

// server is a running echo server.
type server struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

// benchEcho compares the echo server of the examples with one in C.
func benchEcho(w io.Writer, rounds int) error {
	dir, err := os.MkdirTemp("", "rawfork-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	inGo, inC := filepath.Join(dir, "go"), filepath.Join(dir, "c")
	if err := build("go", "build", "-o", inGo, "rawfork/examples/echoserver"); err != nil {
		return err
	}
	source := filepath.Join(dir, "echo.c")
	if err := os.WriteFile(source, []byte(echoC), 0o600); err != nil {
		return err
	}
	if err := build(cmp.Or(os.Getenv("CC"), "cc"), "-O2", "-Wall", "-Wextra", "-Werror", "-o", inC, source); err != nil {
		return err
	}
	var servers [2]*server
	for i, path := range []string{inGo, inC} {
		if servers[i], err = start(path); err != nil {
			return err
		}
		defer servers[i].stop()
	}
	var rates [2][]float64
	for i := range rounds {
		for j := range servers { // each server is first every other time
			k := (i + j) % 2
			rate, err := connect(servers[k].addr)
			if err != nil {
				return err
			}
			rates[k] = append(rates[k], rate)
		}
	}
	fmt.Fprintf(w, "\necho server that forks for each connection: connections per second; %d turns of %d, %d at once\n", rounds, connsATurn, clients)
	fmt.Fprintf(w, "%-28s  %-28s  %s\n", "Go, rawfork", "C", "ratio (target ≥ 0.9)")
	fmt.Fprintf(w, "%-28s  %-28s  %s\n", median(rates[0], "%.0f"), median(rates[1], "%.0f"), median(ratios(rates[0], rates[1]), "%.3f"))
	n := time.Duration(rounds * connsATurn)
	fmt.Fprintf(w, "processor time for each connection, children included: Go %v, C %v\n", servers[0].stop()/n, servers[1].stop()/n)
	return nil
}

func build(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// start runs a server and reads its address from its first line.
func start(path string) (*server, error) {
	cmd := exec.Command(path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		s.stop()
		return nil, fmt.Errorf("%s said %q: %w", path, line, errors.Join(err, errors.New("not its address")))
	}
	s.addr = addr
	return s, nil
}

// stop ends the server and returns the processor time that it and the children
// that it waited for have used.
func (s *server) stop() time.Duration {
	if s.cmd.ProcessState == nil {
		s.stdin.Close()
		s.cmd.Process.Signal(syscall.SIGTERM)
		s.cmd.Wait()
	}
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
}

// connect makes the connections of one turn and returns how many it made in a
// second.
func connect(addr string) (rate float64, err error) {
	start := time.Now()
	failed := make(chan error, clients)
	for range clients {
		go func() {
			for range connsATurn / clients {
				if err := echo(addr); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range clients {
		err = errors.Join(err, <-failed)
	}
	return connsATurn / time.Since(start).Seconds(), err
}

// echo is one connection: a few bytes there and back, and the end seen.
func echo(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	const sent = "sixteen bytes..."
	if _, err := io.WriteString(conn, sent); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err == nil && string(got) != sent {
		err = fmt.Errorf("sent %q, got %q back", sent, got)
	}
	return err
}
