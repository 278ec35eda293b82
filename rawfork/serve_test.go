//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/internal/forktest"
	"rawfork/internal/ps"
)

// serving starts the command and returns it with its address.
func serving(t *testing.T, args ...string) (s *started, addr string) {
	t.Helper()
	return servingAs(t, command(t, append([]string{"serve", "-l", "127.0.0.1:0"}, args...)...))
}

func servingAs(t *testing.T, cmd *exec.Cmd) (s *started, addr string) {
	t.Helper()
	s = start(t, cmd)
	line, err := s.stdout.ReadString('\n')
	addr, ok := strings.CutPrefix(line, "listening on ")
	if err != nil || !ok {
		s.cmd.Wait()
		t.Fatalf("first line %q, %v, stderr %q", line, err, s.stderr.String())
	}
	return s, strings.TrimSpace(addr)
}

// finish tells the command to end, and returns its last line.
func (s *started) finish(t *testing.T, sig os.Signal) string {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(s.stdout)
	if err != nil {
		t.Error(err)
	}
	s.end(t, 0, "^$")
	return string(rest)
}

// talk sends text and returns the answer.
func talk(t *testing.T, network, addr, text string) string {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(forktest.Watchdog))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestServe(t *testing.T) {
	for _, test := range []struct {
		name, sent, want string
		args             []string
		sig              os.Signal
		counts           string
	}{
		{"fork", "hello", "hello", nil, os.Interrupt, "accepted 3, active 0, .* exit 0 3\n"},
		{"exec", "hello", "5\n", []string{"--", "wc", "-c"}, unix.SIGTERM, "accepted 3, active 0, .* exit 0 3\n"},
		{"vfork", "hello", "5\n", []string{"-method", "vfork", "--", "wc", "-c"}, unix.SIGTERM, "accepted 3, active 0, .* exit 0 3\n"},
		{"spawn", "hello", "5\n", []string{"-method", "spawn", "--", "wc", "-c"}, unix.SIGTERM, "accepted 3, active 0, .* exit 0 3\n"},
		{"pool", "hello", "hello", []string{"-mode", "pool", "--max", "2"}, unix.SIGTERM, "children 0, started 2, connections 3, .* exit 0 2\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, addr := serving(t, test.args...)
			for range 3 {
				if got := talk(t, "tcp", addr, test.sent); got != test.want {
					t.Errorf("answer %q, want %q", got, test.want)
				}
			}
			wantMatch(t, test.counts, s.finish(t, test.sig))
		})
	}
}

func TestServeFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("contents"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, addr := serving(t, "--mode", "go", "--dir", dir)
	client := &http.Client{Timeout: forktest.Watchdog, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 3 {
		response, err := client.Get("http://" + addr + "/file")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != "contents" {
			t.Errorf("body %q, %v", body, err)
		}
	}
	wantMatch(t, "accepted 3, active 0, .* exit 0 3\n", s.finish(t, unix.SIGTERM))
}

// SIGHUP replaces the pool's children.
func TestServeReloads(t *testing.T) {
	s, addr := serving(t, "--mode", "pool", "--max", "1", "-v")
	children := func() []int {
		pids, err := ps.Children(s.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return pids
	}
	if got := talk(t, "tcp", addr, "hello"); got != "hello" {
		t.Errorf("answer %q", got)
	}
	first := children()
	if len(first) != 1 {
		t.Errorf("children %v, want one", first)
	}
	s.cmd.Process.Signal(unix.SIGHUP)
	end := time.After(forktest.Watchdog)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		if now := children(); len(now) == 1 && !slices.Equal(now, first) {
			break
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("children %v, after the reload %v", first, children())
		}
	}
	if got := talk(t, "tcp", addr, "hello"); got != "hello" {
		t.Errorf("answer %q", got)
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	s.end(t, 0, "(?s)started.*generation=0.*started.*generation=1")
}

// A reload that fails, here for want of descriptors, is logged. The old children go on.
func TestServeReloadFails(t *testing.T) {
	cmd := command(t, "serve", "-l", "127.0.0.1:0", "--mode", "pool", "--max", "1", "-v")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.Stderr = write
	s, addr := servingAs(t, cmd)
	write.Close()
	log := bufio.NewReader(read)
	logs := func(want string) {
		t.Helper()
		if line, err := log.ReadString('\n'); err != nil || !strings.Contains(line, want) {
			t.Errorf("log: %q, %v, want %s", line, err, want)
		}
	}
	logs("msg=started") // and has all descriptors that it needs, also when its child is faster
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(forktest.Watchdog))
	echo := func() {
		t.Helper()
		b := []byte("x")
		conn.Write(b)
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Errorf("client: %v", err)
		}
	}
	echo()
	var before unix.Rlimit
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Max: before.Max}
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(unix.SIGHUP)
	logs("too many open files")
	echo()
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Error(err)
	}
	conn.Close()
	wantMatch(t, "children 0, started 1, connections 1, .* exit 0 1\n", s.finish(t, unix.SIGTERM))
}

// A second signal ends a client that doesn't finish.
func TestServeInsist(t *testing.T) {
	s, addr := serving(t)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(forktest.Watchdog))
	b := []byte("x")
	conn.Write(b)
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	for { // the listener is closed: the first one has been heard
		probe, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		probe.Close()
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	io.Copy(io.Discard, conn)
	s.end(t, 0, `(?s)msg=terminated.*why=shutdown`)
}

// On a terminal the last line shows the counts, no wider than the terminal, below the
// log; it is gone at the end.
func TestServeStatusLine(t *testing.T) {
	const columns = 40
	master, slave := openTerminal(t, columns)
	defer master.Close()
	defer slave.Close()
	cmd := command(t, "serve", "-l", "127.0.0.1:0", "-v")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &terminalShell{t: t, cmd: cmd, master: master, slave: slave}
	s.wait("listening on ")
	addr := s.wait("\r\n")
	const clear, faint = "\r\x1b[K", "\x1b[2m"
	s.wait(faint + "accepted 0, active 0, ")
	if got := talk(t, "tcp", addr, "hello"); got != "hello" {
		t.Errorf("answer %q", got)
	}
	s.wait(clear + "time=") // a line of the log takes the place, and the line is shown below it
	s.wait("msg=started")
	s.wait("\r\n" + faint + "accepted ")
	s.wait(faint + "accepted 1, active 0, ")
	if shown, _, _ := strings.Cut(s.wait(clear), "\x1b"); len("accepted 1, active 0, "+shown) >= columns {
		t.Errorf("the line goes on with %q, beyond %d columns", shown, columns)
	}
	// The terminal may get narrower while the server runs.
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 12}); err != nil {
		t.Fatal("TIOCSWINSZ: ", err)
	}
	s.wait(clear + faint + "accepted 1,\x1b[0m")
	cmd.Process.Signal(unix.SIGTERM)
	s.wait(clear + "accepted 1, active 0, refused 0, dropped 0, failed forks 0, terminated 0, exit 0 1\r\n")
	s.end(0)
}

func TestServeUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	s := start(t, command(t, "serve", "-l", "unix:"+path))
	s.until(t, "listening on "+path)
	if got := talk(t, "unix", path, "hello"); got != "hello" {
		t.Errorf("answer %q", got)
	}
	s.finish(t, unix.SIGTERM)
}

func TestServeErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{}, 2, `serve: no address to listen on: -l ADDR; see`},
		{[]string{"-l", "127.0.0.1:0", "--mode", "thread"}, 2, `no mode "thread"; there are fork, exec, go and pool`},
		{[]string{"-l", "127.0.0.1:0", "--mode", "exec"}, 2, `mode exec, and no other, takes a CMD`},
		{[]string{"-l", "127.0.0.1:0", "--mode", "pool", "--", "cat"}, 2, `mode exec, and no other, takes a CMD`},
		{[]string{"-l", "127.0.0.1:0", "--max", "0"}, 2, `--max 0 is below 1`},
		{[]string{"-l", "127.0.0.1:0", "--mode", "pool", "--max", "1001"}, 1, `number of Children 1001 is not in 1 to 1000`},
		{[]string{"-l", "unix:"}, 2, `unix: without a path`},
		{[]string{"-l", "127.0.0.1:0", "--timeout", "-1s"}, 2, `negative time`},
		{[]string{"-l", "127.0.0.1:0", "--mode", "pool", "--timeout", "1s"}, 2, `a pool has no --timeout`},
		{[]string{"-l", "127.0.0.1:0", "--dir", "/"}, 2, `--dir for mode go`},
		{[]string{"-l", "127.0.0.1:0", "--method", "clone", "--", "cat"}, 2, `no method "clone"`},
		{[]string{"-l", taken.Addr().String()}, 1, `address already in use`},
		{[]string{"-l", "nowhere"}, 1, `missing port in address`},
		{[]string{"-l", "systemd"}, 1, `listeners of systemd: none for this process`},
		{[]string{"-l", "127.0.0.1:0", "--", "no-such-program"}, 1, `"no-such-program": executable file not found`},
		{[]string{"-l", "127.0.0.1:0", "--mode", "go", "--dir", "/nowhere"}, 1, `/nowhere: no such file or directory`},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			code, stdout, stderr := run(t, command(t, append([]string{"serve"}, test.args...)...))
			if stdout != "" {
				t.Errorf("it says %q before", stdout)
			}
			if code != test.code || !strings.Contains(stderr, test.stderr) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit status %d, stderr %q, want %d, %q", code, stderr, test.code, test.stderr)
			}
		})
	}
}

func wantMatch(t *testing.T, want, got string) {
	t.Helper()
	if !regexp.MustCompile("^(" + want + ")$").MatchString(got) {
		t.Errorf("%q, want %s", got, want)
	}
}
