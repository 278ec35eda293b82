//go:build cgo && (amd64 || arm64)

package serve_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/helper"
	"rawfork/internal/forktest"
	"rawfork/internal/ps"
	"rawfork/serve"
)

// All ways to serve, on both kinds of sockets, of which the helper's second ways see no
// difference: every byte comes back, the counts are the clients'.
func TestWays(t *testing.T) {
	for name, handler := range map[string]func(t *testing.T) serve.Handler{
		"fork": func(*testing.T) serve.Handler { return serve.Fork(child.Echo) },
		"program": func(*testing.T) serve.Handler {
			return &serve.Program{Path: "cat"}
		},
		"program by helper": func(t *testing.T) serve.Handler {
			startHelper(t, 0)
			return &serve.Program{Path: "cat", Method: rawfork.ByHelper}
		},
		"go":       func(t *testing.T) serve.Handler { return serve.Go(startHelper(t, 0), "echo") },
		"ready go": func(t *testing.T) serve.Handler { return serve.Go(startHelper(t, 2), "echo") },
	} {
		networks := []string{"tcp", "unix"}
		if name == "program by helper" || name == "ready go" {
			networks = networks[:1]
		}
		for _, network := range networks {
			t.Run(name+"/"+network, func(t *testing.T) {
				server := runOn(t, &serve.Server{Handler: handler(t), MaxChildren: 4}, listen(t, network))
				const n = 6
				var clients sync.WaitGroup
				for i := range n {
					conn := dial(t, server.addr)
					clients.Go(func() { exchange(t, conn, i*i*3000) })
				}
				clients.Wait()
				if err := server.stop(forktest.Watchdog); err != nil {
					t.Error(err)
				}
				want := serve.Counts{Accepted: n, Exits: map[syscall.WaitStatus]int{0: n}}
				if diff := cmp.Diff(want, server.Counts()); diff != "" {
					t.Errorf("counts (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func startHelper(t testing.TB, ready int) *helper.Helper {
	t.Helper()
	h, err := helper.Start(helper.Options{Ready: ready})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// A program has its client as 0 and 1, the peer's address in its environment, and
// nothing else.
func TestProgram(t *testing.T) {
	t.Setenv("REMOTE_PORT", "not this")
	script := `echo "$REMOTE_ADDR $REMOTE_PORT $EXTRA $1"; pwd; ls -l /proc/self/fd | grep -c socket; ps -o pgid= -p $$ | grep -c $$; echo error >&2`
	server := run(t, &serve.Server{MaxChildren: 2, Handler: &serve.Program{
		Path: "sh", Args: []string{"-c", script, "sh", "argument"}, Dir: "/", Stderr: true,
		Env: append(os.Environ(), "EXTRA=extra"),
	}})
	other := dial(t, server.addr)
	defer other.Close()
	conn := dial(t, server.addr)
	host, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	// The sockets are 0 and 2: neither the listener nor the other client is there.
	want := fmt.Sprintf("%s %s extra argument\n/\n%d\n1\nerror\n", host, port, 2+handedDown(t))
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// handedDown is how many sockets above 2 this process has of who started it, and hands
// down to every program.
func handedDown(t *testing.T) (sockets int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		target, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		if fd > 2 && err == nil && flags&unix.FD_CLOEXEC == 0 && strings.HasPrefix(target, "socket:") {
			sockets++
		}
	}
	return sockets
}

func TestMaxChildrenWaits(t *testing.T) {
	server := run(t, &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 2})
	first, second := begin(t, server.addr), begin(t, server.addr)
	third := dial(t, server.addr)
	third.Write([]byte("x")) // the kernel takes it, a child doesn't yet
	if got := server.Counts(); got.Active != 2 || got.Accepted != 2 {
		t.Errorf("two children are allowed, counts: %v", got)
	}
	exchange(t, first, 100)
	if _, err := io.ReadFull(third, make([]byte, 1)); err != nil {
		t.Errorf("third client, when the first has gone: %v", err)
	}
	exchange(t, second, 100)
	exchange(t, third, 100)
}

func TestMaxChildrenRefuses(t *testing.T) {
	server := run(t, &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 1, Refuse: true})
	first := begin(t, server.addr)
	for range 3 {
		wantEnd(t, dial(t, server.addr))
	}
	exchange(t, first, 1000)
	server.stop(forktest.Watchdog)
	want := serve.Counts{Accepted: 4, Refused: 3, Exits: map[syscall.WaitStatus]int{0: 1}}
	if diff := cmp.Diff(want, server.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// stubborn says that it is there, and then hangs with SIGTERM blocked.
//
//go:nosplit
//go:norace
func stubborn(fd int) {
	mask := uint64(1) << (syscall.SIGTERM - 1)
	child.Syscall(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, addressOf(&mask), 0, 8, 0, 0)
	child.WriteString(fd, "x")
	for {
		child.Pause()
	}
}

func TestDeadline(t *testing.T) {
	tests := []struct {
		name    string
		handler serve.Handler
		grace   time.Duration
		want    syscall.WaitStatus
	}{
		{"slow", serve.Fork(child.Echo), forktest.Watchdog, syscall.WaitStatus(syscall.SIGTERM)},
		{"stubborn", serve.Fork(stubborn), 10 * time.Millisecond, syscall.WaitStatus(syscall.SIGKILL)},
		{"program's child", &serve.Program{Path: "sh", Args: []string{"-c", "echo x; sleep 300; exit 1"}}, forktest.Watchdog, syscall.WaitStatus(syscall.SIGTERM)},
	}
	// All at once: a deadline that leaves a busy machine the time to say x takes a while.
	var servers []*running
	var conns []net.Conn
	for _, test := range tests {
		server := run(t, &serve.Server{
			Handler: test.handler, MaxChildren: 1, Deadline: 5 * time.Second, Grace: test.grace,
		})
		conn := dial(t, server.addr)
		conn.Write([]byte("x"))
		servers, conns = append(servers, server), append(conns, conn)
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := io.ReadAll(conns[i]) // ends when the whole group has
			if strings.TrimSpace(string(got)) != "x" {
				t.Errorf("read %q, %v", got, err)
			}
			conns[i].Close()
			servers[i].stop(forktest.Watchdog)
			want := serve.Counts{Accepted: 1, Terminated: 1, Exits: map[syscall.WaitStatus]int{test.want: 1}}
			if diff := cmp.Diff(want, servers[i].Counts()); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
	reapOrphans(t)
}

// reapOrphans waits for what the children of a server left to this subreaper.
func reapOrphans(t *testing.T) {
	for forktest.HaveChild() {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

// crash ends as the first byte says: by a signal, with a status, in a hang, which it
// says by the same byte.
//
//go:nosplit
//go:norace
func crash(fd int) {
	var b [1]byte
	child.Read(fd, b[:])
	switch b[0] {
	case 's':
		child.Kill(child.Getpid(), syscall.SIGSEGV)
	case 'e':
		child.Exit(9)
	case 'h':
		child.Write(fd, b[:])
		for {
			child.Pause()
		}
	}
	child.Echo(fd)
}

// A child that crashes, exits badly or hangs harms nobody else.
func TestBadHandlers(t *testing.T) {
	var log safeBuffer
	server := run(t, &serve.Server{
		Handler: serve.Fork(crash), MaxChildren: 100, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	const each = 5
	var hanging []net.Conn
	for range each {
		for _, how := range []string{"s", "e", "h"} {
			conn := dial(t, server.addr)
			conn.Write([]byte(how))
			if how == "h" {
				if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
					t.Errorf("child that is to hang: %v", err)
				}
				hanging = append(hanging, conn)
			} else {
				wantEnd(t, conn)
			}
		}
		conn := dial(t, server.addr)
		conn.Write([]byte("."))
		exchange(t, conn, 10_000)
	}
	eventually(t, func() bool { return server.Counts().Active == each })
	if err := server.stop(0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown with children that hang: %v, want %v", err, context.DeadlineExceeded)
	}
	for _, conn := range hanging {
		wantEnd(t, conn)
	}
	want := serve.Counts{Accepted: 4 * each, Terminated: each, Exits: map[syscall.WaitStatus]int{
		0: each, 9 << 8: each, syscall.WaitStatus(syscall.SIGSEGV): each, syscall.WaitStatus(syscall.SIGTERM): each,
	}}
	got := server.Counts()
	for status, n := range got.Exits { // where cores are dumped
		if status.CoreDump() {
			delete(got.Exits, status)
			got.Exits[status&^0x80] += n
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if n := strings.Count(log.String(), `msg=ended`); n != 3*each {
		t.Errorf("%d bad ends in the log, want %d:\n%s", n, 3*each, log.String())
	}
}

// eventually waits for what a server does in its own time and tells nobody of.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	end := time.After(forktest.Watchdog)
	for tick := time.NewTicker(time.Millisecond); !is(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not in %v", forktest.Watchdog)
		}
	}
}

// Shutdown lets the clients finish; nobody new comes in.
func TestShutdown(t *testing.T) {
	server := run(t, &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 10})
	conn := begin(t, server.addr)
	over := make(chan error, 1)
	go func() { over <- server.Shutdown(context.Background()) }()
	if err := <-server.served; !errors.Is(err, serve.ErrServerClosed) {
		t.Errorf("Serve: %v, want %v", err, serve.ErrServerClosed)
	}
	server.over = true
	if late, err := net.Dial("tcp", server.addr.String()); err == nil {
		t.Error("a connection after the listener's close")
		late.Close()
	}
	select {
	case err := <-over:
		t.Errorf("Shutdown returned with a client: %v", err)
	default:
	}
	exchange(t, conn, 1<<20)
	if err := <-over; err != nil {
		t.Error(err)
	}
	if err := server.Shutdown(context.Background()); err != nil {
		t.Errorf("second Shutdown: %v", err)
	}
	if err := server.Serve(listen(t, "tcp")); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("second Serve: %v, want EINVAL", err)
	}
}

// A connection comes, and before it is accepted Shutdown closes the listener: Serve
// returns ErrServerClosed all the same.
func TestShutdownBeforeAccept(t *testing.T) {
	logged, goOn := make(chan slog.Record, 8), make(chan bool)
	listener := listen(t, "tcp")
	closing, err := listener.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	server := runOn(t, &serve.Server{
		Handler: serve.Fork(crash), MaxChildren: 2,
		Log: slog.New(logFunc(func(r slog.Record) { logged <- r; <-goOn })),
	}, listener)
	end := sync.OnceFunc(func() { close(goOn) })
	defer end()
	dial(t, server.addr).Write([]byte("e"))
	started := <-logged
	// The server stands still until it has a child to reap and a connection to accept.
	dial(t, server.addr)
	started.Attrs(func(a slog.Attr) bool {
		if a.Key == "pid" {
			eventually(t, func() bool {
				state, err := ps.State(int(a.Value.Int64()))
				return err != nil || state == 'Z'
			})
		}
		return true
	})
	goOn <- true
	if ended := <-logged; ended.Message != "ended" {
		t.Fatalf("%q was logged, want \"ended\"", ended.Message)
	}
	// It knows of both, and reaps first.
	over := make(chan error, 1)
	go func() { over <- server.Shutdown(context.Background()) }()
	eventually(t, func() bool { return closing.Control(func(uintptr) {}) != nil })
	end()
	if err := <-server.served; err != serve.ErrServerClosed {
		t.Errorf("Serve: %v, want %v", err, serve.ErrServerClosed)
	}
	server.over = true
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// logFunc is a log that calls a function.
type logFunc func(slog.Record)

func (f logFunc) Enabled(context.Context, slog.Level) bool      { return true }
func (f logFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }
func (f logFunc) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f logFunc) WithGroup(string) slog.Handler                 { return f }

func TestShutdownBeforeServe(t *testing.T) {
	server := &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 1}
	if err := server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := server.Serve(listen(t, "tcp")); err != serve.ErrServerClosed {
		t.Errorf("Serve: %v, want %v", err, serve.ErrServerClosed)
	}
}

// Somebody else closes the listener: Serve says so at the next connection, which it
// doesn't serve; the children live on.
func TestListenerClosed(t *testing.T) {
	listener := listen(t, "tcp")
	server := &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 10}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn := begin(t, listener.Addr())
	listener.Close()
	wantEnd(t, dial(t, listener.Addr()))
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want %v", err, net.ErrClosed)
	}
	if late, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		t.Error("somebody listens after Serve's return")
		late.Close()
	}
	exchange(t, conn, 1000)
	if err := server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(1, server.Counts().Served()); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
}

func TestBadInput(t *testing.T) {
	echo := serve.Fork(child.Echo)
	listener := listen(t, "tcp")
	closed := listen(t, "tcp")
	closed.Close()
	ended := startHelper(t, 0)
	ended.Close()
	h := startHelper(t, 0)
	for _, test := range []struct {
		what     string
		server   *serve.Server
		listener net.Listener
		want     error
	}{
		{"no handler", &serve.Server{MaxChildren: 1}, listener, syscall.EINVAL},
		{"nil function", &serve.Server{MaxChildren: 1, Handler: serve.Fork(nil)}, listener, syscall.EINVAL},
		{"MaxChildren 0", &serve.Server{Handler: echo}, listener, syscall.EINVAL},
		{"MaxChildren -1", &serve.Server{Handler: echo, MaxChildren: -1}, listener, syscall.EINVAL},
		{"negative deadline", &serve.Server{Handler: echo, MaxChildren: 1, Deadline: -1}, listener, syscall.EINVAL},
		{"no listener", &serve.Server{Handler: echo, MaxChildren: 1}, nil, syscall.EINVAL},
		{"closed listener", &serve.Server{Handler: echo, MaxChildren: 1}, closed, net.ErrClosed},
		{"TLS", &serve.Server{Handler: echo, MaxChildren: 1}, tls.NewListener(listener, nil), errors.ErrUnsupported},
		{"no program", &serve.Server{MaxChildren: 1, Handler: &serve.Program{Path: "/nowhere/program"}}, listener, os.ErrNotExist},
		{"program not in PATH", &serve.Server{MaxChildren: 1, Handler: &serve.Program{Path: "no-such-program"}}, listener, exec.ErrNotFound},
		{"program by spawn", &serve.Server{MaxChildren: 1, EndWithServer: true, Handler: &serve.Program{Path: "cat", Method: rawfork.BySpawn}}, listener, errors.ErrUnsupported},
		{"directory", &serve.Server{MaxChildren: 1, Handler: &serve.Program{Path: "/tmp"}}, listener, syscall.EISDIR},
		{"no directory", &serve.Server{MaxChildren: 1, Handler: &serve.Program{Path: "cat", Dir: "/nowhere"}}, listener, os.ErrNotExist},
		{"nil helper", &serve.Server{MaxChildren: 1, Handler: serve.Go(nil, "echo")}, listener, syscall.EINVAL},
		{"closed helper", &serve.Server{MaxChildren: 1, Handler: serve.Go(ended, "echo")}, listener, helper.ErrClosed},
		{"not registered", &serve.Server{MaxChildren: 1, Handler: serve.Go(h, "nobody")}, listener, syscall.ENOENT},
	} {
		if err := test.server.Serve(test.listener); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.what, err, test.want)
		}
	}
	table := serve.Table{"echo": echo, "nil": nil}
	if _, err := table.Find("echo"); err != nil {
		t.Error(err)
	}
	if _, err := table.Find("nobody"); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), `["echo" "nil"]`) {
		t.Errorf("handler that isn't in the table: %v", err)
	}
	if _, err := table.Find("nil"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("nil handler in the table: %v", err)
	}
}

// remote has a server in a process of its own, told to go on by its standard input,
// and returns its address.
func remote(t *testing.T, name string) (r *remoteServer) {
	t.Helper()
	return remoteAs(t, name, nil)
}

func remoteAs(t *testing.T, name string, as *syscall.SysProcAttr) (r *remoteServer) {
	t.Helper()
	cmd := forktest.Command(t, name)
	cmd.SysProcAttr = as
	r = &remoteServer{cmd: cmd}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.stdout = bufio.NewReader(stdout)
	var stderr safeBuffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.watchdog = time.AfterFunc(2*forktest.Watchdog, func() { cmd.Process.Kill() })
	r.end = func() {
		t.Helper()
		stdin.Close()
		rest, _ := io.ReadAll(r.stdout)
		err := cmd.Wait()
		if !r.watchdog.Stop() {
			t.Errorf("the server hung")
		}
		if err != nil || string(rest) != "ok\n" {
			t.Errorf("%v: %s\n%s", err, rest, stderr.String())
		}
	}
	var text string
	if _, err := fmt.Fscanln(r.stdout, &text); err != nil {
		t.Errorf("no address: %v", err)
		r.end()
		t.FailNow()
	}
	r.addr, err = net.ResolveTCPAddr("tcp", text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// remoteServer is a server in a process of its own.
type remoteServer struct {
	cmd      *exec.Cmd
	addr     net.Addr
	stdout   *bufio.Reader
	watchdog *time.Timer
	end      func() // has the server end, which must be content
}

// crowded has n clients connect at once, and exchange once the server says that it
// can't have children for all.
func (r *remoteServer) crowded(t *testing.T, n int) {
	t.Helper()
	var conns []net.Conn
	for range n {
		conns = append(conns, dial(t, r.addr))
	}
	if line, err := r.stdout.ReadString('\n'); line != shortage {
		t.Errorf("the server says %q, %v, want %q", line, err, shortage)
	}
	var clients sync.WaitGroup
	for _, conn := range conns {
		clients.Go(func() { exchange(t, conn, 10_000) })
	}
	clients.Wait()
}

// shortage is what a server says to crowded.
const shortage = "shortage\n"

// shortageLog is a log whose first line tells crowded of a shortage.
type shortageLog struct {
	safeBuffer
	once sync.Once
}

func (l *shortageLog) Write(p []byte) (int, error) {
	l.once.Do(func() { fmt.Print(shortage) })
	return l.safeBuffer.Write(p)
}

// serveUntilTold is the server of remote. check gets its counts.
func serveUntilTold(server *serve.Server, listener net.Listener, check func(serve.Counts) error) {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
	err := errors.Join(server.Shutdown(context.Background()), check(server.Counts()))
	if forktest.HaveChild() {
		err = errors.Join(err, errors.New("a child is left"))
	}
	if served := <-served; served != serve.ErrServerClosed {
		err = errors.Join(err, served)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// A program by a helper that nobody has started is refused at the start.
func TestNoHelper(t *testing.T) {
	if out, err := forktest.Command(t, "no helper").CombinedOutput(); err != nil || string(out) != "ok" {
		t.Errorf("%v: %s", err, out)
	}
}

func noHelper() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := &serve.Server{MaxChildren: 1, Handler: &serve.Program{Path: "cat", Method: rawfork.ByHelper}}
	if err := server.Serve(listener); !errors.Is(err, rawfork.ErrNoHelper) {
		must(fmt.Errorf("Serve: %v, want %v", err, rawfork.ErrNoHelper))
	}
	fmt.Print("ok")
}

// At the limit on processes clients wait; all are served in the end.
func TestFewProcesses(t *testing.T) {
	var as *syscall.SysProcAttr
	if uid := os.Getuid(); uid != 0 {
		// The limit counts all processes of a user: have a namespace in which the user
		// has no others.
		as = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: nobodyElse, HostID: uid, Size: 1}},
		}
		try := exec.Command("/bin/true")
		try.SysProcAttr = as
		if err := try.Run(); err != nil {
			t.Skip("an ordinary user may have no user namespace here: ", err)
		}
	}
	server := remoteAs(t, "few processes", as)
	server.crowded(t, 20)
	server.end()
}

// nobodyElse is a user that no other process runs as.
const nobodyElse = 54322

// fewProcesses is a server whose user may have three children.
func fewProcesses() {
	if os.Getuid() == 0 { // who may go beyond the limit
		must(syscall.Setgroups(nil))
		must(syscall.Setgid(nobodyElse))
		must(syscall.Setuid(nobodyElse))
	}
	// Threads count, too, and the Go runtime dies when it can't make one that it
	// needs. So have some to spare, which it keeps.
	spareThreads(20)
	threads, err := os.ReadDir("/proc/self/task")
	must(err)
	var limit unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NPROC, &limit))
	limit.Cur = uint64(len(threads)) + 3
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	must(unix.Setrlimit(unix.RLIMIT_NPROC, &limit))
	var log shortageLog
	server := &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 100, Log: slog.New(slog.NewTextHandler(&log, nil))}
	serveUntilTold(server, listener, func(c serve.Counts) error {
		if c.Served() != c.Accepted || c.Dropped > 0 || c.FailedForks == 0 {
			return fmt.Errorf("counts: %v, want failed forks, and nobody dropped; log: %s", c, log.String())
		}
		return nil
	})
}

// spareThreads has n goroutines stand in a system call at once.
func spareThreads(n int) {
	read, write, err := os.Pipe()
	must(err)
	fd := int(read.Fd()) // blocking from now on
	var all sync.WaitGroup
	for range n {
		all.Go(func() { syscall.Read(fd, make([]byte, 1)) })
	}
	for {
		threads, err := os.ReadDir("/proc/self/task")
		must(err)
		if len(threads) >= n {
			break
		}
		time.Sleep(time.Millisecond) // nobody tells
	}
	write.Close()
	all.Wait()
	read.Close()
}

// Without descriptors the same.
func TestFewDescriptors(t *testing.T) {
	server := remote(t, "few descriptors")
	server.crowded(t, 30)
	server.end()
}

func fewDescriptors() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	var limit unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	limit.Cur = limitOfFree(4 + 2) // its own, and those of two connections
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	var log shortageLog
	server := &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 100, Log: slog.New(slog.NewTextHandler(&log, nil))}
	serveUntilTold(server, listener, func(c serve.Counts) error {
		if c.Served() != c.Accepted || c.Dropped > 0 || !strings.Contains(log.String(), "too many open files") {
			return fmt.Errorf("counts: %v, want nobody dropped, and a log of what was missing: %s", c, log.String())
		}
		return nil
	})
}

// limitOfFree is the limit on descriptors under which n are free. Which ones this
// process has, and how high they are, depends on who started it.
func limitOfFree(n int) uint64 {
	fd := 0
	for ; n > 0; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == unix.EBADF {
			n--
		}
	}
	return uint64(fd)
}

// When the kernel can't promise the memory of a copy, clients wait until it can.
func TestNoMemory(t *testing.T) {
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil {
		t.Fatal(err)
	}
	if string(mode) == "1\n" {
		t.Skip("vm.overcommit_memory is 1: the kernel promises any amount of memory")
	}
	server := remote(t, "no memory")
	server.crowded(t, 3)
	server.end()
}

func noMemory() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	log := &backAfter{lines: 3, giveBack: promiseTooMuch()}
	server := &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 100, Log: slog.New(slog.NewTextHandler(log, nil))}
	serveUntilTold(server, listener, func(c serve.Counts) error {
		if c.Served() != c.Accepted || c.Dropped > 0 || c.FailedForks != 3 || !strings.Contains(log.String(), "cannot allocate memory") {
			return fmt.Errorf("counts: %v, want three failed forks, nobody dropped, and a log of what was missing: %s", c, log.String())
		}
		return nil
	})
}

// backAfter is a log that gives back what is missing once so many lines say so.
type backAfter struct {
	shortageLog
	lines    int
	giveBack func()
}

func (l *backAfter) Write(p []byte) (int, error) {
	if l.lines--; l.lines == 0 {
		l.giveBack()
	}
	return l.shortageLog.Write(p)
}

// promiseTooMuch gives this process more memory than the machine has, untouched, so
// that the kernel promises nobody a copy of it.
func promiseTooMuch() (giveBack func()) {
	var info unix.Sysinfo_t
	must(unix.Sysinfo(&info))
	piece := uintptr(info.Totalram+info.Totalswap) * uintptr(info.Unit) / 2
	piece = (piece + 1<<30) &^ (1<<21 - 1)
	const pieces = 3
	// Room for all, to have the pieces side by side: the kernel makes them one.
	room, err := unix.MmapPtr(-1, 0, nil, pieces*piece, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	must(err)
	for i := range uintptr(pieces) {
		_, err := unix.MmapPtr(-1, 0, unsafe.Add(room, i*piece), piece, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
		must(err)
	}
	return func() { must(unix.MunmapPtr(room, pieces*piece)) }
}

// A server that is killed takes its children along.
func TestServerKilled(t *testing.T) {
	server := remote(t, "killed")
	var conns []net.Conn
	for range 5 {
		conns = append(conns, begin(t, server.addr))
	}
	if err := server.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		wantEnd(t, conn)
	}
	server.cmd.Wait()
	reapOrphans(t)
}

func killedServer() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 100, EndWithServer: true}
	serveUntilTold(server, listener, func(serve.Counts) error { return nil })
}
