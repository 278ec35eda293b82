//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
)

// A child of Serve keeps 0, 1, 2 and the descriptor that it serves, whatever
// else the parent has open, close-on-exec or not.
func TestServeKeepsOnlyItsDescriptor(t *testing.T) {
	server, client := connection(t, "tcp")
	_, file := pipe(t)
	high, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD, 700) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(high)
	inEveryLoad(t, func(t *testing.T) {
		var fd int
		pid := mustServe(t, server, greet)
		if err := rawfork.WithFD(server, func(n int) error { fd = n; return nil }); err != nil {
			t.Fatal(err)
		}
		// A byte says that the handler runs: the others are closed by then.
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		self := descriptors(t, os.Getpid())
		want := map[string]string{}
		for _, kept := range []int{0, 1, 2, fd} {
			want[fmt.Sprint(kept)] = self[fmt.Sprint(kept)]
		}
		if diff := cmp.Diff(want, descriptors(t, pid)); diff != "" {
			t.Errorf("descriptors of the child (-want +got):\n%s", diff)
		}
		if _, err := client.Write([]byte("x")); err != nil { // which ends greet
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, 0)
	})
}

// greet writes one byte and reads one.
//
//go:nosplit
//go:norace
func greet(fd int) {
	child.WriteString(fd, "!")
	var b [1]byte
	child.Read(fd, b[:])
}

// The parent's copy stays open and as it was; a connection ends when both
// processes have closed it, no sooner.
func TestConnectionEndsWhenBothHaveClosed(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			server, client := connection(t, network)
			wantNonblock(t, server, true)
			pid := mustServe(t, server, greet)
			io.ReadFull(client, make([]byte, 1))
			client.Write([]byte("x"))
			forktest.WantExit(t, pid, 0)

			// The child has ended: the parent's copy still speaks for itself.
			wantNonblock(t, server, true)
			if _, err := server.Write([]byte("parent")); err != nil {
				t.Fatal(err)
			}
			server.Close()
			wantRest(t, client, "parent")
		})
		t.Run(network+"/parent first", func(t *testing.T) {
			server, client := connection(t, network)
			pid := mustServe(t, server, greet)
			server.Close()
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Fatalf("the parent's close ended the child's connection: %v", err)
			}
			client.Write([]byte("x"))
			wantRest(t, client, "")
			forktest.WantExit(t, pid, 0)
		})
	}
}

// Echo over all that the standard library holds a descriptor in. Its sockets are
// non-blocking, and the child's echo of a megabyte has to wait for both sides.
func TestServeConnEcho(t *testing.T) {
	for _, network := range []string{"tcp", "tcp6", "unix"} {
		t.Run(network, func(t *testing.T) {
			server, client := connection(t, network)
			pid := mustServe(t, server, child.Echo)
			server.Close()
			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			failed := make(chan error, 1)
			go func() {
				_, err := client.Write(sent)
				client.(interface{ CloseWrite() error }).CloseWrite()
				failed <- err
			}()
			got, err := io.ReadAll(client)
			if err != nil {
				t.Error(err)
			}
			if err := <-failed; err != nil {
				t.Error(err)
			}
			if !bytes.Equal(sent, got) {
				t.Errorf("sent %d bytes, got %d back, or others", len(sent), len(got))
			}
			forktest.WantExit(t, pid, 0)
		})
	}
}

// The echo server of a page: one child for each of many clients at once.
func TestServeManyClients(t *testing.T) {
	inEveryLoad(t, func(t *testing.T) {
		const n = 8
		var clients [n]net.Conn
		var pids [n]int
		for i := range n {
			server, client := connection(t, "tcp")
			pids[i], clients[i] = mustServe(t, server, child.Echo), client
			server.Close()
		}
		for i, client := range clients {
			fmt.Fprintf(client, "client %d", i)
		}
		for i, client := range clients {
			client.(*net.TCPConn).CloseWrite()
			wantRest(t, client, fmt.Sprintf("client %d", i))
			forktest.WantExit(t, pids[i], 0)
		}
	})
}

func TestServeConnPipe(t *testing.T) {
	r, w := pipe(t)
	pid := mustServe(t, w, writeChild)
	if diff := cmp.Diff("child, ", output(t, r, w)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	forktest.WantExit(t, pid, 0)
}

// A regular file's offset belongs to the open file description: what the child
// writes the parent goes on after.
func TestServeConnFile(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.WriteString("parent, ")
	pid := mustServe(t, file, writeChild)
	forktest.WantExit(t, pid, 0)
	file.WriteString("parent again")
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("parent, child, parent again", string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

//go:nosplit
//go:norace
func writeChild(fd int) { child.WriteString(fd, "child, ") }

// A child that is given the listener accepts by itself.
func TestServeConnListener(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			listener := listen(t, network)
			pid := mustServe(t, listener, acceptAndEcho)
			client, err := net.Dial(network, listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			client.Write([]byte("hello"))
			client.(interface{ CloseWrite() error }).CloseWrite()
			wantRest(t, client, "hello")
			forktest.WantExit(t, pid, 0)
		})
	}
}

//go:nosplit
//go:norace
func acceptAndEcho(listener int) {
	fd, errno := child.Accept(listener, 0)
	if errno != 0 {
		child.Exit(int(errno))
	}
	child.Echo(fd)
}

// A handler may end the child itself, and then the status is its own.
func TestServeHandlerExits(t *testing.T) {
	pid, err := rawfork.Serve(0, exitNine)
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, pid, 9)
}

//go:nosplit
//go:norace
func exitNine(int) { child.Exit(9) }

// A handler that isn't nosplit dies at its first instruction and is named.
func TestServeHandlerNotNosplitDies(t *testing.T) {
	inEveryLoad(t, func(t *testing.T) {
		r, w := pipe(t)
		stderr, err := unix.Dup(2)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(stderr)
		if err := unix.Dup3(int(w.Fd()), 2, 0); err != nil { // the child's, for a moment the parent's
			t.Fatal(err)
		}
		pid, err := rawfork.Serve(0, splits)
		unix.Dup3(stderr, 2, 0)
		if err != nil {
			t.Fatal(err)
		}
		text := output(t, r, w)
		forktest.WantExit(t, pid, 2)
		for _, want := range []string{"fatal error: stack growth after fork\n", "rawfork_test.splits("} {
			if !strings.Contains(text, want) {
				t.Errorf("stderr of the child lacks %q:\n%s", want, text)
			}
		}
	})
}

//go:noinline
func splits(fd int) {
	var big [4096]byte
	child.Read(fd, big[:])
}

// noConn has a descriptor by its method set, and gives an error for it.
type noConn struct{ io.Closer }

func (noConn) SyscallConn() (syscall.RawConn, error) { return nil, syscall.ENOTSUP }

// What is known to be wrong before the fork is an error before the fork.
func TestServeBadInput(t *testing.T) {
	_, w := pipe(t)
	closed := int(w.Fd())
	w.Close()
	for _, test := range []struct {
		name    string
		fd      int
		handler func(int)
		want    error
		words   string
	}{
		{"nil handler", 0, nil, syscall.EINVAL, "serve fd 0: nil handler: invalid argument"},
		{"negative", -1, child.Echo, syscall.EBADF, "serve fd -1: bad file descriptor"},
		{"very negative", -1 << 31, child.Echo, syscall.EBADF, ""},
		{"closed", closed, child.Echo, syscall.EBADF, fmt.Sprintf("serve fd %d: bad file descriptor", closed)},
		{"beyond int32", 1 << 32, child.Echo, syscall.EBADF, "serve fd 4294967296: bad file descriptor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantNothingLeft(t, func() {
				pid, err := rawfork.Serve(test.fd, test.handler)
				if pid != -1 || !errors.Is(err, test.want) {
					t.Errorf("Serve = %d, %v, want -1, %v", pid, err, test.want)
				}
				if test.words != "" && err.Error() != test.words {
					t.Errorf("Serve: %q, want %q", err, test.words)
				}
			})
		})
	}
}

func TestServeConnBadInput(t *testing.T) {
	conn, _ := connection(t, "tcp")
	closedConn, _ := connection(t, "tcp")
	closedConn.Close()
	closedListener := listen(t, "tcp")
	closedListener.Close()
	closedFile, _ := pipe(t)
	closedFile.Close()
	deleted, err := os.Create(filepath.Join(t.TempDir(), "regular"))
	if err != nil {
		t.Fatal(err)
	}
	deleted.Close()
	inner, _ := net.Pipe()
	defer inner.Close()
	for _, test := range []struct {
		name    string
		conn    io.Closer
		handler func(int)
		want    error
	}{
		{"nil handler", conn, nil, syscall.EINVAL},
		{"nil", nil, child.Echo, errors.ErrUnsupported},
		{"nil file", (*os.File)(nil), child.Echo, os.ErrInvalid},
		{"closed connection", closedConn, child.Echo, net.ErrClosed},
		{"closed listener", closedListener, child.Echo, net.ErrClosed},
		{"closed pipe", closedFile, child.Echo, os.ErrClosed},
		{"closed file", deleted, child.Echo, os.ErrClosed},
		{"TLS connection", tls.Server(conn, nil), child.Echo, errors.ErrUnsupported},
		{"no descriptor", inner, child.Echo, errors.ErrUnsupported},
		{"refuses", noConn{}, child.Echo, syscall.ENOTSUP},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantNothingLeft(t, func() {
				pid, err := rawfork.ServeConn(test.conn, test.handler)
				if pid != -1 || !errors.Is(err, test.want) {
					t.Errorf("ServeConn = %d, %v, want -1, %v", pid, err, test.want)
				}
			})
		})
	}
}

// WithFD gives the holder's own descriptor, and returns what use returns.
func TestWithFD(t *testing.T) {
	conn, _ := connection(t, "tcp")
	file, _ := pipe(t)
	own := errors.New("what use returned")
	for _, holder := range []interface {
		io.Closer
		syscall.Conn
	}{conn.(*net.TCPConn), file, listen(t, "unix").(*net.UnixListener)} {
		t.Run(fmt.Sprintf("%T", holder), func(t *testing.T) {
			var want, got int
			raw, err := holder.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Control(func(fd uintptr) { want = int(fd) }); err != nil {
				t.Fatal(err)
			}
			if err := rawfork.WithFD(holder, func(fd int) error { got = fd; return own }); err != own {
				t.Errorf("WithFD = %v, want what use returned", err)
			}
			if got != want {
				t.Errorf("descriptor %d, want the holder's own, %d", got, want)
			}
		})
	}
	if err := rawfork.WithFD(file, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("WithFD with a nil function: %v, want EINVAL", err)
	}
}

// No call leaves a duplicate behind.
func TestServeConnLeaksNothing(t *testing.T) {
	conn, _ := connection(t, "tcp")
	file, _ := pipe(t)
	wantNothingLeft(t, func() {
		for _, holder := range []io.Closer{conn, file} {
			for range 1000 {
				if err := rawfork.WithFD(holder, func(int) error { return nil }); err != nil {
					t.Fatal(err)
				}
				if _, err := rawfork.ServeConn(holder, nil); err == nil {
					t.Fatal("ServeConn took a nil handler")
				}
			}
			for range 50 {
				forktest.WantExit(t, mustServe(t, holder, nothing), 0)
			}
		}
	})
}

//go:nosplit
//go:norace
func nothing(int) {}

// ---- Helpers. ----

func mustServe(t *testing.T, conn io.Closer, handler func(int)) (pid int) {
	t.Helper()
	pid, err := rawfork.ServeConn(conn, handler)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func listen(t *testing.T, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	switch network {
	case "unix":
		address = filepath.Join(t.TempDir(), "socket")
	case "tcp6":
		address = "[::1]:0"
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// connection makes both ends of a connection. The test closes what is left.
func connection(t *testing.T, network string) (server, client net.Conn) {
	t.Helper()
	listener := listen(t, network)
	defer listener.Close()
	client, err := net.Dial(network, listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = listener.Accept()
	if err != nil {
		client.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// wantRest reads conn to its end.
func wantRest(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("rest of the connection (-want +got):\n%s", diff)
	}
}

func wantNonblock(t *testing.T, conn net.Conn, want bool) {
	t.Helper()
	err := rawfork.WithFD(conn, func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if got := flags&unix.O_NONBLOCK != 0; got != want {
			t.Errorf("O_NONBLOCK is %v, want %v", got, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantNothingLeft fails the test when use leaves a child or a descriptor, or
// ForkLock held.
func wantNothingLeft(t *testing.T, use func()) {
	t.Helper()
	before := descriptors(t, os.Getpid())
	use()
	if diff := cmp.Diff(before, descriptors(t, os.Getpid())); diff != "" {
		t.Errorf("descriptors (-before +after):\n%s", diff)
	}
	if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != unix.ECHILD {
		t.Errorf("a child is left: waitid = %v, want ECHILD", err)
	}
	wantForkLockFree(t)
}
