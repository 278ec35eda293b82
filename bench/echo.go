//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"bufio"
	"cmp"
	"embed"
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

// The peers' sources; those in C are compiled where the figures are taken.
//
//go:embed peers/echo.c peers/echo.h peers/size.c peers/size.h peers/program/main.c
//go:embed peers/prefork/main.c peers/reaping/main.c peers/forkserver/main.c peers/forking.py
var sources embed.FS

// server is a running echo server.
type server struct {
	name  string
	cmd   *exec.Cmd
	addr  string
	rates []float64
}

// benchEcho compares the echo server of the examples with the same server in C: as
// a program of its own, as large as the one in Go, and inside of a Go process.
func benchEcho(w io.Writer, rounds int) error {
	dir, err := os.MkdirTemp("", "rawfork-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := buildServers(dir); err != nil {
		return err
	}
	inGo, inC := filepath.Join(dir, "echoserver"), filepath.Join(dir, "echo")
	inProcess := filepath.Join(dir, "inprocess")
	use := func(addr string) (int, error) {
		_, err := connect(addr)
		return connsATurn, err
	}
	asLarge, asBusy, err := likeness(exec.Command(inC), exec.Command(inGo), use)
	if err != nil {
		return err
	}
	_, writes, err := likeness(exec.Command(inProcess, "_Fork"), exec.Command(inGo), use)
	if err != nil {
		return err
	}
	n := writes[len(writes)-1] // pages, for which one mapping will do: the process is as large
	busyProcess := []string{"_Fork", "-maps", "1", "-pages", n, "-tables", "1", "-writes", n}
	servers := []*server{
		{name: "Go, rawfork", cmd: exec.Command(inGo)},
		{name: "C program, fork", cmd: exec.Command(inC)},
		{name: "the same C, as large", cmd: exec.Command(inC, asLarge...)},
		{name: "as large, with its writes", cmd: exec.Command(inC, asBusy...)},
		{name: "C in a Go process, fork", cmd: exec.Command(inProcess)},
		{name: "C in a Go process, _Fork", cmd: exec.Command(inProcess, "_Fork")},
		{name: "that, with Go's writes", cmd: exec.Command(inProcess, busyProcess...)},
	}
	for _, s := range servers {
		if err := s.start(); err != nil {
			return err
		}
		defer s.stop()
	}
	for i := range rounds {
		for j := range servers { // each server is first in its turn
			s := servers[(i+j)%len(servers)]
			rate, err := connect(s.addr)
			if err != nil {
				return err
			}
			s.rates = append(s.rates, rate)
		}
	}
	fmt.Fprintf(w, "\necho server that forks for each connection: connections per second; %d turns of %d, %d at once\n", rounds, connsATurn, clients)
	fmt.Fprintf(w, "%q is C with %s; %q is C with %s; %q is C with %s\n",
		servers[2].name, strings.Join(asLarge, " "), servers[3].name, strings.Join(asBusy, " "), servers[6].name, strings.Join(busyProcess, " "))
	fmt.Fprintf(w, "%-28s  %-28s  %s\n", "server", "connections per second", "ratio of Go to it (target ≥ 0.9)")
	for _, s := range servers {
		fmt.Fprintf(w, "%-28s  %-28s  %s\n", s.name, median(s.rates, "%.0f"), median(ratios(servers[0].rates, s.rates), "%.3f"))
	}
	return nil
}

// buildServers makes the programs echoserver, echo and inprocess in dir.
func buildServers(dir string) error {
	if err := os.CopyFS(dir, sources); err != nil {
		return err
	}
	peers := filepath.Join(dir, "peers")
	return errors.Join(
		build("go", "build", "-o", filepath.Join(dir, "echoserver"), "rawfork/examples/echoserver"),
		build("go", "build", "-o", filepath.Join(dir, "inprocess"), "rawfork/bench/peers"),
		build(cmp.Or(os.Getenv("CC"), "cc"), "-O2", "-Wall", "-Wextra", "-Werror", "-o", filepath.Join(dir, "echo"),
			filepath.Join(peers, "echo.c"), filepath.Join(peers, "size.c"), filepath.Join(peers, "program", "main.c")))
}

func build(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// start runs a server and reads its address from its first line.
func (s *server) start() error {
	s.cmd.Stderr = os.Stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		s.stop()
		return fmt.Errorf("%s said %q: %w", s.name, line, errors.Join(err, errors.New("not its address")))
	}
	s.addr = addr
	return nil
}

// stop ends a server that has no clients any more.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.cmd.Wait()
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
