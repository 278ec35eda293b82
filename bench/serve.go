//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/helper"
	"rawfork/internal/pages"
	"rawfork/serve"
)

// poolChildren is how many children the pools have.
const poolChildren = 4

// helperEcho is the name of the function of the Go children.
const helperEcho = "bench: echo"

func init() {
	helper.Register(helperEcho, func(files []*os.File) int {
		conn, err := net.FileConn(files[0])
		if err != nil {
			return 1
		}
		io.Copy(conn, conn)
		return 0
	})
}

// The servers of package serve, and goroutines, that this program plays for itself.
const (
	playFork       = "fork"
	playProgram    = "program"
	playByHelper   = "byhelper"
	playGo         = "go"
	playReady      = "ready"
	playPool       = "pool"
	playHandOver   = "handover"
	playGoroutines = "goroutines"
)

// play is one of the servers, with so many MB of memory in use, until SIGTERM.
func play(name string, ballast int) error {
	switch name {
	case playStamp:
		os.Exit(stamp(os.NewFile(3, "stamp")))
	case playParent:
		return playKilled()
	}
	if ballast > 0 {
		heap, err := pages.InUse(ballast << 20)
		if err != nil {
			return err
		}
		defer unix.Munmap(heap)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	fmt.Println("listening on", listener.Addr())
	switch name {
	case playGoroutines:
		go goroutines(listener)
		<-ctx.Done()
		return nil
	case playPool, playHandOver:
		pool := &serve.Pool{Handler: child.Echo, Children: poolChildren, HandOver: name == playHandOver}
		context.AfterFunc(ctx, func() { pool.Shutdown(context.Background()) })
		err = pool.Serve(listener)
	default:
		server := &serve.Server{MaxChildren: 200}
		switch name {
		case playFork:
			server.Handler = serve.Fork(child.Echo)
		case playProgram:
			server.Handler = &serve.Program{Path: "cat"}
		case playByHelper, playGo, playReady:
			ready := 0
			if name == playReady {
				ready = 8
			}
			h, startErr := helper.Start(helper.Options{Ready: ready, EndWithParent: true})
			if startErr != nil {
				return startErr
			}
			defer h.Close()
			server.Handler = serve.Go(h, helperEcho)
			if name == playByHelper {
				server.Handler = &serve.Program{Path: "cat", Method: rawfork.ByHelper}
			}
		}
		context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })
		err = server.Serve(listener)
	}
	if !errors.Is(err, serve.ErrServerClosed) {
		return err
	}
	return nil
}

func goroutines(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

// rival is a server, with what was measured of it.
type rival struct {
	server
	against string    // the name of the one that it is compared with, or ""
	target  string    // for the ratio
	turn    int       // connections
	p99     []float64 // of each turn, ms
}

// benchServe compares the servers of package serve with their peers.
func benchServe(w io.Writer, rounds int) error {
	dir, err := os.MkdirTemp("", "rawfork-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := buildServers(dir); err != nil {
		return err
	}
	peers := filepath.Join(dir, "peers")
	for _, name := range []string{"prefork", "reaping"} {
		if err := build(cmp.Or(os.Getenv("CC"), "cc"), "-O2", "-Wall", "-Wextra", "-Werror", "-o", filepath.Join(dir, name),
			filepath.Join(peers, "size.c"), filepath.Join(peers, name, "main.c")); err != nil {
			return err
		}
	}
	self := func(play string, more ...string) *exec.Cmd {
		return exec.Command("/proc/self/exe", append([]string{"-server", play}, more...)...)
	}
	one := func(name string, cmd *exec.Cmd, against, target string) *rival {
		return &rival{server: server{name: name, cmd: cmd}, against: against, target: target}
	}
	const (
		sameShape, bare, prefork = "C, fork, reaps and counts", "C, fork, SIGCHLD ignored", "C, prefork"
		handsOver                = "C, prefork, hand over"
		large, busy              = "the same C, as large", "as large, with its writes"
		python                   = "Python, ForkingTCPServer"
	)
	asLarge, asBusy, err := likeness(exec.Command(filepath.Join(dir, "reaping")), self(playFork), func(addr string) (int, error) {
		const n = 128
		_, _, err := crowd(addr, 16, n)
		return n, err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%q is C with %s; %q is C with %s\n", large, strings.Join(asLarge, " "), busy, strings.Join(asBusy, " "))
	_, noPython := exec.LookPath("python3")
	for _, clients := range []int{1, 16, 128} {
		rivals := []*rival{
			one("serve.Server, fork", self(playFork), sameShape, "target ≥ 0.9"),
			one(sameShape, exec.Command(filepath.Join(dir, "reaping")), "", ""),
			one(large, exec.Command(filepath.Join(dir, "reaping"), asLarge...), sameShape, ""),
			one(busy, exec.Command(filepath.Join(dir, "reaping"), asBusy...), sameShape, ""),
			one(bare, exec.Command(filepath.Join(dir, "echo")), sameShape, ""),
			one("serve.Server, program", self(playProgram), "", ""),
			one("serve.Server, Go", self(playGo), "", ""),
			one("serve.Server, ready Go", self(playReady), "", ""),
			one("serve.Pool, accept", self(playPool), prefork, "target ≥ 0.9"),
			one(prefork, exec.Command(filepath.Join(dir, "prefork"), fmt.Sprint(poolChildren)), "", ""),
			one("serve.Pool, hand over", self(playHandOver), handsOver, "target ≥ 0.9"),
			one(handsOver, exec.Command(filepath.Join(dir, "prefork"), fmt.Sprint(poolChildren), "hand over"), "", ""),
			one("goroutines", self(playGoroutines), "", ""),
		}
		if noPython == nil {
			rivals = append(rivals, one(python, exec.Command("python3", filepath.Join(peers, "forking.py")), "", ""),
				one("serve.Server, fork, again", self(playFork), python, "target ≥ 4"))
		}
		fmt.Fprintf(w, "\nconnections of 1 kB, %d at once; up to %d turns\n", clients, rounds)
		if err := contest(w, rivals, clients, rounds); err != nil {
			return err
		}
	}
	for _, way := range []struct{ name, play, target string }{
		{"fork", playFork, ""}, {"program by helper", playByHelper, "target ≥ 0.85"}, {"ready Go", playReady, "target ≥ 0.85"},
	} {
		fmt.Fprintf(w, "\nserve.Server, %s: memory in use, 16 connections at once; up to %d turns\n", way.name, rounds)
		rivals := []*rival{
			one("1 GB", self(way.play, "-ballast", "1024"), "16 MB", way.target),
			one("16 MB", self(way.play, "-ballast", "16"), "", ""),
		}
		if err := contest(w, rivals, 16, rounds); err != nil {
			return err
		}
	}
	return nil
}

// contestTime is when a contest begins no further turn, contestTurns how many it has all
// the same, and turnTime about how long one of them takes: a shorter one, which a pool
// has done 48 connections in, measures whom the kernel lets run first.
const (
	contestTime  = 90 * time.Second
	contestTurns = 5
	turnTime     = 250 * time.Millisecond
)

// contest measures servers in turns, and writes a line for each.
func contest(w io.Writer, rivals []*rival, clients, rounds int) error {
	for _, r := range rivals {
		if err := r.start(); err != nil {
			return err
		}
		defer r.stop()
		// The first connections touch all for the first time; a few more say how many make
		// a turn.
		if _, _, err := crowd(r.addr, clients, max(64, 4*clients)); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		rate, _, err := crowd(r.addr, clients, max(48, 2*clients))
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		r.turn = max(48, 2*clients, int(rate*turnTime.Seconds()))
	}
	start := time.Now()
	for i := range rounds {
		if i >= contestTurns && time.Since(start) > contestTime {
			break
		}
		for j := range rivals {
			r := rivals[(i+j)%len(rivals)]
			rate, p99, err := crowd(r.addr, clients, r.turn)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			r.rates, r.p99 = append(r.rates, rate), append(r.p99, p99)
		}
	}
	fmt.Fprintf(w, "%-28s  %-26s  %-26s  %s\n", "server", "connections per second", "99% within, ms", "ratio")
	for _, r := range rivals {
		line := fmt.Sprintf("%-28s  %-26s  %-26s", r.name, median(r.rates, "%.0f"), median(r.p99, "%.1f"))
		if at := slices.IndexFunc(rivals, func(other *rival) bool { return other.name == r.against }); at >= 0 {
			line += fmt.Sprintf("  %s of %s", median(ratios(r.rates, rivals[at].rates), "%.2f"), r.against)
			if r.target != "" {
				line += "; " + r.target
			}
		}
		fmt.Fprintln(w, line)
	}
	return nil
}

// crowd makes n connections, so many at once, and returns how many a second that were,
// and within how many ms 99 of 100 were over.
func crowd(addr string, clients, n int) (rate, p99 float64, err error) {
	start := time.Now()
	failed := make(chan error, clients)
	took := make([][]float64, clients)
	for i := range clients {
		go func() {
			for range n / clients {
				begin := time.Now()
				if err := exchange(addr); err != nil {
					failed <- err
					return
				}
				took[i] = append(took[i], time.Since(begin).Seconds()*1e3)
			}
			failed <- nil
		}()
	}
	for range clients {
		err = errors.Join(err, <-failed)
	}
	rate = float64(n/clients*clients) / time.Since(start).Seconds()
	all := slices.Concat(took...)
	if err != nil || len(all) == 0 {
		return 0, 0, err
	}
	slices.Sort(all)
	return rate, all[len(all)*99/100], nil
}

var kilobyte = bytes.Repeat([]byte("x"), 1024)

// exchange is one connection of crowd.
func exchange(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(kilobyte); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err == nil && !bytes.Equal(got, kilobyte) {
		err = fmt.Errorf("sent %d bytes, got %d back, or others", len(kilobyte), len(got))
	}
	return err
}
