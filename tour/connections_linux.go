package tour

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// handle: C3.
func handle(ctx context.Context, l *Log) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	listening, err := linkOf(listener)
	if err != nil {
		return "", err
	}
	for n := 1; n <= 2; n++ {
		if err := handleOne(ctx, l, listener, listening, n); err != nil {
			return "", err
		}
	}
	return "the parent has the listener only, each child its connection only", nil
}

// handleOne has one client served by one child.
func handleOne(ctx context.Context, l *Log, listener net.Listener, listening string, n int) error {
	client, err := new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	connected, err := linkOf(conn)
	if err != nil {
		return err
	}
	pid, err := l.adopt(rawfork.ServeConn(conn, greet))
	if err != nil {
		return err
	}
	conn.Close() // the parent's copy

	greeting := make([]byte, len("hello\n"))
	if _, err := io.ReadFull(client, greeting); err != nil {
		return err
	}
	files := map[int][]bool{}
	for _, p := range []int{os.Getpid(), pid} {
		for _, link := range []string{listening, connected} {
			has, err := holds(p, link)
			if err != nil {
				return err
			}
			files[p] = append(files[p], has)
		}
	}
	l.say("client %d: child %d says %q to it; listener %s, connection %s",
		n, pid, bytes.TrimSpace(greeting), who(files, pid, 0), who(files, pid, 1))
	client.Close() // the child's read ends
	if err := l.waitFor(pid, 0); err != nil {
		return err
	}
	mine, its := files[os.Getpid()], files[pid]
	if !mine[0] || mine[1] || its[0] || !its[1] {
		return fmt.Errorf("[listener connection]: parent %v, child %v", mine, its)
	}
	return nil
}

// who says which of two processes hold a file.
func who(files map[int][]bool, pid, i int) string {
	switch parent, child := files[os.Getpid()][i], files[pid][i]; {
	case parent && child:
		return "open in both"
	case parent:
		return "open in the parent only"
	case child:
		return "open in the child only"
	}
	return "open in neither"
}

// greet is a handler for Serve, which has closed all other descriptors.
//
//go:nosplit
//go:norace
func greet(fd int) {
	child.WriteString(fd, "hello\n")
	child.Discard(fd)
}

// linkOf names the socket as /proc does: "socket:[4711]".
func linkOf(holder io.Closer) (link string, err error) {
	err = rawfork.WithFD(holder, func(fd int) (err error) {
		link, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		return err
	})
	return link, err
}

// holds tells whether the process has a descriptor of that file.
func holds(pid int, link string) (bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		switch to, err := os.Readlink(dir + "/" + entry.Name()); {
		case errors.Is(err, os.ErrNotExist):
			continue // the descriptor of this very listing
		case err != nil:
			return false, err
		case to == link:
			return true, nil
		}
	}
	return false, nil
}

// descriptors: C8.
func descriptors(_ context.Context, l *Log) (string, error) {
	mixed, err := garble(l)
	if err != nil {
		return "", err
	}
	if err := closeTwice(l); err != nil {
		return "", err
	}
	return fmt.Sprintf("a line of %s, and one close of two that ended nothing", mixed), nil
}

// garble has two children write into one pipe, until a line comes that holds
// what both have written.
func garble(l *Log) (line string, err error) {
	const length = 8000
	r, w, err := l.pipe()
	if err != nil {
		return "", err
	}
	// A pipe of one page, and lines longer than that: each write has to wait for
	// room, and the other writer's is served meanwhile.
	if _, err := unix.FcntlInt(uintptr(w), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		return "", os.NewSyscallError("fcntl", err)
	}
	var pids []int
	for _, letter := range []byte("ab") {
		text := append(bytes.Repeat([]byte{letter}, length), '\n')
		pid, err := l.adopt(forkWriter(w, text))
		if err != nil {
			return "", err
		}
		pids = append(pids, pid)
	}
	l.close(w)
	l.say("two children write lines of %d letters into one pipe, one only a's, one only b's", length)
	lines := bufio.NewReader(reader(r))
	for !strings.Contains(line, "a") || !strings.Contains(line, "b") {
		if line, err = lines.ReadString('\n'); err != nil {
			return "", err
		}
	}
	line = runs(strings.TrimSuffix(line, "\n"))
	l.say("a line comes out as %s", line)
	l.close(r) // nobody reads any more: SIGPIPE ends the writers
	for _, pid := range pids {
		status, err := l.wait(pid)
		if err != nil {
			return "", err
		}
		if !status.Signaled() || status.Signal() != unix.SIGPIPE {
			return "", fmt.Errorf("the writer %d: %s, not killed by SIGPIPE", pid, describe(status))
		}
	}
	return line, nil
}

// runs shortens "aaabb" to "3 a, 2 b".
func runs(text string) string {
	var parts []string
	for len(text) > 0 {
		rest := strings.TrimLeft(text, text[:1])
		parts = append(parts, fmt.Sprintf("%d %c", len(text)-len(rest), text[0]))
		text = rest
	}
	return strings.Join(parts, ", ")
}

//go:norace
func forkWriter(w int, text []byte) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.KeepOnly(w)
		for {
			if _, errno := child.Write(w, text); errno != 0 {
				child.Exit(int(errno))
			}
		}
	}
	return pid, err
}

// closeTwice has a connection closed by the parent, then by the child.
func closeTwice(l *Log) error {
	client, server, err := l.socketpair()
	if err != nil {
		return err
	}
	goOn, order, err := l.pipe()
	if err != nil {
		return err
	}
	pid, err := l.adopt(forkHolder(goOn, server))
	if err != nil {
		return err
	}
	l.close(server)
	early, err := ended(client, 100)
	if err != nil {
		return err
	}
	l.say("the parent closes a connection that its child %d holds too: its client %s", pid, sees(early))
	l.close(order)
	if err := l.waitFor(pid, 0); err != nil {
		return err
	}
	late, err := ended(client, -1)
	if err != nil {
		return err
	}
	l.say("the child closes it: the client %s", sees(late))
	if early || !late {
		return fmt.Errorf("the end came too early: %v, in the end: %v", early, late)
	}
	return nil
}

func sees(end bool) string {
	if end {
		return "sees the end"
	}
	return "sees no end"
}

// ended tells whether the peer has closed the socket, within milliseconds.
func ended(fd, milliseconds int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, milliseconds)
		if err == unix.EINTR {
			continue
		}
		return n > 0 && fds[0].Revents&unix.POLLHUP != 0, os.NewSyscallError("poll", err)
	}
}

//go:norace
func forkHolder(goOn, fd int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.KeepOnly(goOn, fd)
		waitForEnd(goOn)
		child.Close(fd)
		child.Exit(0)
	}
	return pid, err
}
