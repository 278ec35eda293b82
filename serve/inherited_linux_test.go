//go:build cgo && (amd64 || arm64)

package serve_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"rawfork/internal/forktest"
	"rawfork/serve"
)

// The listeners that systemd passes are there, once, and say hello.
func TestInherited(t *testing.T) {
	tcp, unix := listen(t, "tcp"), listen(t, "unix")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	files := []*os.File{fileOf(t, tcp), fileOf(t, unix)}
	for _, test := range []struct {
		name  string
		fds   string // what LISTEN_FDS says
		pid   string // what LISTEN_PID says, "" for the right one
		files []*os.File
		want  string
	}{
		{"two", "2", "", files, "2 listeners, <nil>"},
		{"somebody else's", "2", "1", files, "0 listeners, listeners of systemd: none for this process: no such file or directory"},
		{"none", "0", "", nil, "0 listeners, listeners of systemd: none for this process: no such file or directory"},
		{"no number", "two", "", files, `0 listeners, listeners of systemd: LISTEN_FDS="two": invalid argument`},
		{"no listener", "2", "", []*os.File{files[0], null}, "0 listeners, listeners of systemd: descriptor 4: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			var conns []net.Conn
			if test.name == "two" { // they wait in the listeners' queues
				conns = append(conns, dial(t, tcp.Addr()), dial(t, unix.Addr()))
			}
			cmd := forktest.Command(t, "inherited")
			cmd.Env = append(cmd.Env, "LISTEN_FDS="+test.fds, "LISTEN_PID="+test.pid)
			cmd.ExtraFiles = test.files
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), test.want) || !strings.HasSuffix(string(out), "\nnone left\n") {
				t.Errorf("%v: %s, want %q, and none left", err, out, test.want)
			}
			for _, conn := range conns {
				if got, err := io.ReadAll(conn); string(got) != "hello by "+conn.RemoteAddr().Network() {
					t.Errorf("client: %q, %v", got, err)
				}
			}
		})
	}
}

func fileOf(t *testing.T, listener net.Listener) *os.File {
	t.Helper()
	file, err := listener.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// inherited is a service of systemd's.
func inherited() {
	if os.Getenv("LISTEN_PID") == "" { // only now it is known
		must(os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())))
	}
	listeners, err := serve.Inherited()
	for _, listener := range listeners {
		conn, err := listener.Accept()
		must(err)
		_, err = io.WriteString(conn, "hello by "+listener.Addr().Network())
		must(errors.Join(err, conn.Close(), listener.Close()))
	}
	fmt.Printf("%d listeners, %v\n", len(listeners), err)
	if _, err := serve.Inherited(); errors.Is(err, syscall.ENOENT) && os.Getenv("LISTEN_FDS") == "" {
		fmt.Println("none left")
	}
}
