package tour

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"

	"rawfork/helper"
	"rawfork/internal/ps"
)

// The functions that the steps' Go children run.
const (
	goConnection = "rawfork/tour: connection"
	goListener   = "rawfork/tour: listener"
)

func init() {
	helper.Register(goConnection, func(files []*os.File) int { return serveConnection(files[0]) })
	helper.Register(goListener, func(files []*os.File) int { return serveListener(files[0]) })
}

// goServer is C15 again, by children that are whole Go programs.
func goServer(ctx context.Context, l *Log) (string, error) {
	const clients = 3
	h, listener, err := startHelper(0)
	if err != nil {
		return "", err
	}
	defer h.Close()
	defer listener.Close()
	l.say("the helper, a process of one thread that forks for this program:")
	if err := l.ps(h.Pid()); err != nil {
		return "", err
	}
	for range clients {
		conn, err := dial(ctx, listener)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		pid, err := handOver(l, h, listener)
		if err != nil {
			return "", err
		}
		text, err := get(conn, "/hello")
		if err != nil {
			return "", err
		}
		l.say("child %d: %s", pid, text)
		if got, err := number(text, "served by"); err != nil || got != pid {
			return "", fmt.Errorf("served by %d, %v, not by %d", got, err, pid)
		}
		if got, err := number(text, "a child of"); err != nil || got != os.Getpid() {
			return "", fmt.Errorf("a child of %d, %v, not of %d", got, err, os.Getpid())
		}
		if err := l.waitFor(pid, 0); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d connections were served by net/http, each in a child of its own", clients), nil
}

// handOver accepts a connection and gives it to a child.
func handOver(l *Log, h *helper.Helper, listener *net.TCPListener) (pid int, err error) {
	conn, err := listener.AcceptTCP()
	if err != nil {
		return -1, err
	}
	defer conn.Close() // the child has its own copy
	file, err := conn.File()
	if err != nil {
		return -1, err
	}
	defer file.Close()
	return goChild(l, h, goConnection, file)
}

// goChild starts a child that runs the function, and has the log keep it.
func goChild(l *Log, h *helper.Helper, name string, file *os.File) (pid int, err error) {
	process, err := h.Go(name, file)
	if err != nil {
		return -1, err
	}
	defer process.Release() // the log waits for it
	return l.adopt(process.Pid, nil)
}

// startHelper starts a helper with that many ready children, and a listener.
func startHelper(ready int) (*helper.Helper, *net.TCPListener, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	h, err := helper.Start(helper.Options{Ready: ready, EndWithParent: true})
	if err != nil {
		listener.Close()
		return nil, nil, err
	}
	return h, listener, nil
}

// get asks for path on a new connection and returns the body of the answer.
func get(conn net.Conn, path string) (string, error) {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// serveConnection is a child's life: it serves one connection until that is closed.
func serveConnection(file *os.File) int {
	conn, err := net.FileConn(file)
	if err != nil {
		return 1
	}
	only := make(oneConn, 1)
	only <- conn
	server := http.Server{Handler: http.HandlerFunc(answer), ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			os.Exit(0)
		}
	}}
	server.Serve(only) // doesn't return: it waits for a second connection
	return 1
}

func answer(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s served by %d, a child of %d, with %d goroutines", r.URL.Path, os.Getpid(), os.Getppid(), runtime.NumGoroutine())
}

// oneConn is a [net.Listener] of the connections that are sent to it.
type oneConn chan net.Conn

func (l oneConn) Accept() (net.Conn, error) { return <-l, nil }
func (l oneConn) Close() error              { return nil }
func (l oneConn) Addr() net.Addr            { return nil }

// prefork is C16 again, by children that are whole Go programs, booted ahead.
func prefork(ctx context.Context, l *Log) (string, error) {
	const children, clients = 3, 12
	h, listener, err := startHelper(1)
	if err != nil {
		return "", err
	}
	defer h.Close()
	defer listener.Close()
	file, err := listener.File()
	if err != nil {
		return "", err
	}
	defer file.Close()
	var pids []int
	for range children {
		pid, err := goChild(l, h, goListener, file)
		if err != nil {
			return "", err
		}
		pids = append(pids, pid)
	}
	l.say("%d children that are Go programs wait for connections on one listener:", children)
	if err := l.ps(pids...); err != nil {
		return "", err
	}
	for range clients {
		if _, err := askOneOf(ctx, listener, "/hello", pids); err != nil {
			return "", err
		}
	}
	l.say("%d brief connections were served by them", clients)
	dead, err := askOneOf(ctx, listener, "/crash", pids)
	if err != nil {
		return "", err
	}
	if err := l.waitFor(dead, crashed); err != nil {
		return "", err
	}
	fresh, err := goChild(l, h, goListener, file)
	if err != nil {
		return "", err
	}
	l.say("child %d has died with exit status %d, and %d, booted ahead, takes its place", dead, crashed, fresh)
	pids[slices.Index(pids, dead)] = fresh
	if _, err := askOneOf(ctx, listener, "/hello", pids); err != nil {
		return "", err
	}
	if _, err := ps.State(dead); err == nil {
		return "", fmt.Errorf("process %d is left", dead)
	}
	return "one child's crash cost one connection: the others went on, and another was ready", nil
}

// askOneOf asks for path and returns which of the children has answered.
func askOneOf(ctx context.Context, listener net.Listener, path string, pids []int) (int, error) {
	conn, err := dial(ctx, listener)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	text, err := get(conn, path)
	if err != nil {
		return -1, err
	}
	pid, err := number(text, "served by")
	if err == nil && !slices.Contains(pids, pid) {
		err = fmt.Errorf("served by %d, a stranger", pid)
	}
	return pid, err
}

const crashed = 3

// serveListener is a child's life: it accepts and serves until it is ended.
func serveListener(file *os.File) int {
	listener, err := net.FileListener(file)
	if err != nil {
		return 1
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", answer)
	mux.HandleFunc("/crash", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		http.NewResponseController(w).Flush()
		os.Exit(crashed)
	})
	http.Serve(listener, mux)
	return 1
}
