package tour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/ps"
)

// server: C15.
func server(ctx context.Context, l *Log) (string, error) {
	const clients = 8
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := serveForking(ctx, l, listener)
	defer s.stop()

	slow, err := dial(ctx, listener)
	if err != nil {
		return "", err
	}
	defer slow.Close()
	slowChild, err := receive(ctx, s.forked)
	if err != nil {
		return "", err
	}
	l.say("a slow client has connected, child %d serves it, and waits", slowChild)
	if err := echoAll(ctx, listener, clients); err != nil {
		return "", err
	}
	var fast []int
	for range clients {
		pid, err := receive(ctx, s.reaped)
		if err != nil {
			return "", err
		}
		fast = append(fast, pid)
	}
	slices.Sort(fast)
	l.say("meanwhile %d clients were served, each by a child that was reaped: %s", clients, list(fast))
	children, err := ps.Children(os.Getpid())
	if err != nil {
		return "", err
	}
	if err := l.ps(slowChild); err != nil {
		return "", err
	}
	if slices.Contains(fast, slowChild) || !slices.Contains(children, slowChild) {
		return "", fmt.Errorf("children %v, served %v, the slow client's %d", children, fast, slowChild)
	}
	if err := echo(slow, "at last"); err != nil {
		return "", err
	}
	if pid, err := receive(ctx, s.reaped); err != nil || pid != slowChild {
		return "", fmt.Errorf("reaped %d, %v, not the slow client's %d", pid, err, slowChild)
	}
	l.say("the slow client has got its echo too, and child %d is reaped", slowChild)
	if err := s.stop(); err != nil {
		return "", err
	}
	for _, pid := range append(fast, slowChild) {
		if _, err := ps.State(pid); err == nil {
			return "", fmt.Errorf("process %d is left", pid)
		}
	}
	return fmt.Sprintf("%d clients were served while one was slow, and no zombie is left", clients), nil
}

// forking is a server that forks a child for each connection.
type forking struct {
	listener net.Listener
	forked   chan int // the pids of its children
	reaped   chan int
	group    sync.WaitGroup
	mu       sync.Mutex
	err      error
}

// serveForking echoes on each connection that the listener, which it takes over,
// gets until stop is called or ctx ends.
func serveForking(ctx context.Context, l *Log, listener net.Listener) *forking {
	s := &forking{listener: listener, forked: make(chan int, 1024), reaped: make(chan int, 1024)}
	context.AfterFunc(ctx, func() { listener.Close() })
	s.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				err = s.serve(l, conn)
			}
			if err != nil {
				s.fail(err)
				listener.Close()
				return
			}
		}
	})
	return s
}

func (s *forking) serve(l *Log, conn net.Conn) error {
	defer conn.Close() // the child has its own copy
	pid, err := l.adopt(rawfork.ServeConn(conn, child.Echo))
	if err != nil {
		return err
	}
	s.forked <- pid
	s.group.Go(func() {
		if err := l.waitFor(pid, 0); err != nil {
			s.fail(err)
		}
		s.reaped <- pid
	})
	return nil
}

func (s *forking) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
}

// stop closes the listener and returns when all children are reaped.
func (s *forking) stop() error {
	s.listener.Close()
	s.group.Wait()
	return s.err
}

func receive(ctx context.Context, from <-chan int) (int, error) {
	select {
	case pid := <-from:
		return pid, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// dial connects a client, until ctx ends.
func dial(ctx context.Context, listener net.Listener) (*net.TCPConn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	return conn.(*net.TCPConn), nil
}

// echo is what a client does: it sends its message, says that this was all, and
// compares what comes back.
func echo(conn *net.TCPConn, message string) error {
	if _, err := io.WriteString(conn, message); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && string(answer) != message {
		err = fmt.Errorf("sent %q, got %q back", message, answer)
	}
	return err
}

// echoAll runs that many clients at once.
func echoAll(ctx context.Context, listener net.Listener, clients int) error {
	errs := make(chan error, clients)
	for i := range clients {
		go func() {
			conn, err := dial(ctx, listener)
			if err == nil {
				err = echo(conn, fmt.Sprintf("client %d", i))
				conn.Close()
			}
			errs <- err
		}()
	}
	var all error
	for range clients {
		all = errors.Join(all, <-errs)
	}
	return all
}

// pool: C16.
func pool(ctx context.Context, l *Log) (string, error) {
	const children, clients = 4, 40
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	var pids []int
	for range children {
		err := rawfork.WithFD(listener, func(fd int) error {
			pid, err := l.adopt(rawfork.Serve(fd, acceptAndSayPid))
			pids = append(pids, pid)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	l.say("%d children wait for connections, before the first has come:", children)
	if err := l.ps(pids...); err != nil {
		return "", err
	}
	served := map[int]int{}
	for range clients {
		conn, err := dial(ctx, listener)
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(conn)
		conn.Close()
		if err != nil {
			return "", err
		}
		pid, err := number(string(text), "served by")
		if err != nil {
			return "", err
		}
		served[pid]++
	}
	var shares []string
	for _, pid := range pids {
		shares = append(shares, fmt.Sprintf("%d by %d", served[pid], pid))
		delete(served, pid)
	}
	l.say("%d brief connections were served: %s", clients, strings.Join(shares, ", "))
	if len(served) > 0 {
		return "", fmt.Errorf("served by strangers: %v", served)
	}
	return fmt.Sprintf("%d forks for %d connections", children, clients), nil
}

// acceptAndSayPid is what a child of the pool does until it is killed.
//
//go:nosplit
//go:norace
func acceptAndSayPid(listener int) {
	for {
		conn, errno := child.Accept(listener, 0)
		if errno != 0 {
			child.Exit(1)
		}
		var line child.Line
		line.Text("served by ").Int(child.Getpid()).Text("\n").Write(conn)
		child.Close(conn)
	}
}

// alternatives: C19.
func alternatives(ctx context.Context, l *Log) (string, error) {
	const connections = 50
	byFork, err := timeForks(ctx, l, connections)
	if err != nil {
		return "", err
	}
	l.say("%d connections, a fork for each: %.1f ms", connections, byFork.Seconds()*1e3)
	byGo, err := timeGoroutines(ctx, connections)
	if err != nil {
		return "", err
	}
	l.say("%d connections, a goroutine for each: %.1f ms", connections, byGo.Seconds()*1e3)
	return fmt.Sprintf("the same answers from both; the forks took %.1f times as long", float64(byFork)/float64(byGo)), nil
}

func timeForks(ctx context.Context, l *Log, connections int) (time.Duration, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	start := time.Now()
	s := serveForking(ctx, l, listener)
	err = echoAll(ctx, listener, connections)
	taken := time.Since(start)
	return taken, errors.Join(err, s.stop())
}

func timeGoroutines(ctx context.Context, connections int) (time.Duration, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	start := time.Now()
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed: the clients have had all answers, or see that not
			}
			group.Go(func() {
				defer conn.Close()
				// By read and write, as the child does it: package net would splice(2),
				// with pipes that it keeps.
				io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
			})
		}
	})
	err = echoAll(ctx, listener, connections)
	taken := time.Since(start)
	listener.Close()
	group.Wait()
	return taken, err
}
