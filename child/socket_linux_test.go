//go:build cgo && (amd64 || arm64)

package child_test

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/child"
	"rawfork/internal/forktest"
)

//go:norace
func TestAccept(t *testing.T) {
	type results struct {
		First, Second, Waited, Closed, NoSocket, NotListening, AtLimit num
		FirstMark, SecondMark, FirstFlags, SecondFlags                 uintptr
	}
	got := shared[results](t)
	server, address := listener(t, unix.SOCK_NONBLOCK)
	r, _ := pipe(t, 0)
	sock, _ := socketpair(t, unix.SOCK_STREAM)
	connect(t, address)
	connect(t, address)
	pid := fork(t)
	if pid == 0 {
		got.First.N, got.First.Errno = child.Accept(server, 0)
		got.Second.N, got.Second.Errno = child.Accept(server, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		got.FirstMark, _ = child.Syscall(unix.SYS_FCNTL, uintptr(got.First.N), unix.F_GETFD, 0, 0, 0, 0)
		got.SecondMark, _ = child.Syscall(unix.SYS_FCNTL, uintptr(got.Second.N), unix.F_GETFD, 0, 0, 0, 0)
		got.FirstFlags, _ = child.Syscall(unix.SYS_FCNTL, uintptr(got.First.N), unix.F_GETFL, 0, 0, 0, 0)
		got.SecondFlags, _ = child.Syscall(unix.SYS_FCNTL, uintptr(got.Second.N), unix.F_GETFL, 0, 0, 0, 0)
		got.Closed.N, got.Closed.Errno = child.Accept(-1, 0)
		got.NoSocket.N, got.NoSocket.Errno = child.Accept(r, 0)
		got.NotListening.N, got.NotListening.Errno = child.Accept(sock, 0)
		got.Waited.N, got.Waited.Errno = child.Accept(server, 0) // nobody there yet
		limitFDs(0)
		got.AtLimit.N, got.AtLimit.Errno = child.Accept(server, 0)
		child.Exit(0)
	}
	waitInCall(t, pid, unix.SYS_PPOLL)
	connect(t, address)
	connect(t, address)
	forktest.WantExit(t, pid, 0)
	want := results{
		First: num{got.First.N, 0}, Second: num{got.Second.N, 0}, Waited: num{got.Waited.N, 0},
		Closed: num{-1, syscall.EBADF}, NoSocket: num{-1, syscall.ENOTSOCK}, NotListening: num{-1, syscall.EINVAL},
		AtLimit:    num{-1, syscall.EMFILE},
		SecondMark: unix.FD_CLOEXEC, FirstFlags: unix.O_RDWR, SecondFlags: unix.O_RDWR | unix.O_NONBLOCK,
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got.First.N <= 2 || got.Second.N <= got.First.N || got.Waited.N <= got.Second.N {
		t.Errorf("connections are %d, %d and %d, want three descriptors", got.First.N, got.Second.N, got.Waited.N)
	}
}

// The parent gets a descriptor that the child sent, and it works.
//
//go:norace
func TestSendFD(t *testing.T) {
	for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET, "datagram": unix.SOCK_DGRAM} {
		t.Run(name, func(t *testing.T) { sendFD(t, kind) })
	}
}

//go:norace
func sendFD(t *testing.T, kind int) {
	got := shared[num](t)
	a, b := socketpair(t, kind)
	r, w := pipe(t, 0)
	data := []byte("here it is")
	pid := fork(t)
	if pid == 0 {
		got.N, got.Errno = child.SendFD(b, w, data)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	drop(w)
	if diff := cmp.Diff(num{len(data), 0}, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	received, oob := make([]byte, 100), make([]byte, 100)
	n, oobn, _, _, err := unix.Recvmsg(a, received, oob, unix.MSG_CMSG_CLOEXEC)
	must(t, err)
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	must(t, err)
	if len(messages) != 1 || string(received[:n]) != string(data) {
		t.Fatalf("received %q with %d control messages", received[:n], len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	must(t, err)
	if len(fds) != 1 {
		t.Fatalf("received descriptors %v, want one", fds)
	}
	must2(t)(unix.Write(own(t, fds[0]), []byte("through it")))
	drop(fds[0])
	if got := string(all(t, r)); got != "through it" {
		t.Errorf("read %q, want what was written through the descriptor", got)
	}
}

//go:norace
func TestSendFDErrors(t *testing.T) {
	type results struct{ Empty, NoSocket, Closed, BadFD, Gone, Forbidden, NotConnected num }
	got := shared[results](t)
	r, w := pipe(t, 0)
	a, _ := socketpair(t, unix.SOCK_STREAM)
	lonely, peer := socketpair(t, unix.SOCK_STREAM)
	drop(peer)
	unconnected, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	own(t, unconnected)
	data, bad := []byte("x"), forbidden(t)
	pid := fork(t)
	if pid == 0 {
		got.Empty.N, got.Empty.Errno = child.SendFD(a, r, nil)
		got.NoSocket.N, got.NoSocket.Errno = child.SendFD(w, r, data)
		got.Closed.N, got.Closed.Errno = child.SendFD(-1, r, data)
		got.BadFD.N, got.BadFD.Errno = child.SendFD(a, -1, data)
		got.Gone.N, got.Gone.Errno = child.SendFD(lonely, r, data)
		got.Forbidden.N, got.Forbidden.Errno = child.SendFD(a, r, bad)
		got.NotConnected.N, got.NotConnected.Errno = child.SendFD(unconnected, r, data)
		child.Exit(0) // and not SIGPIPE
	}
	forktest.WantExit(t, pid, 0)
	want := results{num{-1, syscall.EINVAL}, num{-1, syscall.ENOTSOCK}, num{-1, syscall.EBADF},
		num{-1, syscall.EBADF}, num{-1, syscall.EPIPE}, num{-1, syscall.EFAULT}, num{-1, syscall.ENOTCONN}}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A full socket that is non-blocking makes SendFD wait; what it then sends
// arrives whole.
//
//go:norace
func TestSendFDWaits(t *testing.T) {
	got := shared[num](t)
	a, b := socketpair(t, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK)
	r, _ := pipe(t, 0)
	filling, data := make([]byte, 1000), []byte("last")
	full := 0
	for ; ; full++ {
		if _, err := unix.Write(b, filling); err == unix.EAGAIN {
			break
		} else {
			must(t, err)
		}
	}
	pid := fork(t)
	if pid == 0 {
		got.N, got.Errno = child.SendFD(b, r, data)
		child.Exit(0)
	}
	waitInCall(t, pid, unix.SYS_PPOLL)
	for range full {
		must2(t)(unix.Read(a, filling))
	}
	forktest.WantExit(t, pid, 0)
	n, err := unix.Read(a, filling) // this read closes the descriptor that came
	must(t, err)
	if diff := cmp.Diff("last", string(filling[:n])); diff != "" || *got != (num{4, 0}) {
		t.Errorf("SendFD returned %v; received (-want +got)\n%s", *got, diff)
	}
}

// What RecvFD makes of messages with no, one and several descriptors: it takes
// one, and none stays behind.
//
//go:norace
func TestRecvFD(t *testing.T) {
	type received struct {
		N     int
		HasFD bool
		Errno syscall.Errno
	}
	type results struct {
		None, One, Several, AtLimit, Credentials, End, Empty, NoSocket, Closed, Forbidden received
		Mark                                                                              uintptr
		Before, After                                                                     uintptr
		Nonblocking                                                                       received
	}
	got := shared[results](t)
	a, b := socketpair(t, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK)
	c, d := socketpair(t, unix.SOCK_SEQPACKET)
	must(t, unix.SetsockoptInt(c, unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
	e, f := socketpair(t, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK)
	r, w := pipe(t, 0)
	data, through, bad := make([]byte, 100), []byte("through it"), forbidden(t)

	send := func(sock int, fds ...int) {
		t.Helper()
		var oob []byte
		if len(fds) > 0 {
			oob = unix.UnixRights(fds...)
		}
		must(t, unix.Sendmsg(sock, []byte("data"), oob, nil, 0))
	}
	send(b)
	send(b, w)
	send(b, w, r, w)
	send(b, w)
	send(d, w)
	drop(d)
	drop(b)
	pid := fork(t)
	if pid == 0 {
		child.Close(w)
		got.Before, _ = child.Syscall(unix.SYS_FCNTL, uintptr(r), unix.F_DUPFD, 0, 0, 0, 0)
		child.Close(int(got.Before))

		n, fd, errno := child.RecvFD(a, data)
		got.None = received{n, fd >= 0, errno}

		n, fd, errno = child.RecvFD(a, data)
		got.One = received{n, fd >= 0, errno}
		got.Mark, _ = child.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFD, 0, 0, 0, 0)
		child.Write(fd, through)
		child.Close(fd)

		n, fd, errno = child.RecvFD(a, data)
		got.Several = received{n, fd >= 0, errno}
		child.Close(fd)
		got.After, _ = child.Syscall(unix.SYS_FCNTL, uintptr(r), unix.F_DUPFD, 0, 0, 0, 0)
		child.Close(int(got.After))

		n, fd, errno = child.RecvFD(c, data)
		got.Credentials = received{n, fd >= 0, errno}
		n, fd, errno = child.RecvFD(r, data)
		got.NoSocket = received{n, fd >= 0, errno}
		n, fd, errno = child.RecvFD(-1, data)
		got.Closed = received{n, fd >= 0, errno}
		n, fd, errno = child.RecvFD(a, nil)
		got.Empty = received{n, fd >= 0, errno}

		n, fd, errno = child.RecvFD(e, data)
		got.Nonblocking = received{n, fd >= 0, errno}
		n, fd, errno = child.RecvFD(e, bad)
		got.Forbidden = received{n, fd >= 0, errno}

		limitFDs(0)
		n, fd, errno = child.RecvFD(a, data)
		got.AtLimit = received{n, fd >= 0, errno}
		n, fd, errno = child.RecvFD(a, data)
		got.End = received{n, fd >= 0, errno}
		child.Exit(0)
	}
	waitInCall(t, pid, unix.SYS_PPOLL) // in RecvFD of e
	send(f, w)
	send(f)
	drop(w)
	forktest.WantExit(t, pid, 0)
	drop(a)
	drop(c) // with the messages in them
	drop(e)
	if got := string(all(t, r)); got != string(through) {
		t.Errorf("read %q, want what was written through the descriptor, and then the end", got)
	}
	want := results{
		None: received{4, false, 0}, One: received{4, true, 0}, Several: received{4, true, 0},
		AtLimit: received{4, false, syscall.EMFILE}, Credentials: received{4, false, syscall.EMFILE},
		End: received{0, false, 0}, Empty: received{-1, false, syscall.EINVAL},
		NoSocket: received{-1, false, syscall.ENOTSOCK}, Closed: received{-1, false, syscall.EBADF},
		Forbidden: received{-1, false, syscall.EFAULT}, Nonblocking: received{4, true, 0},
		Mark: unix.FD_CLOEXEC, Before: got.Before, After: got.Before,
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A child that is sent a descriptor by SendFD and gets it by RecvFD: both ends of
// this package, over a stream.
//
//go:norace
func TestSendAndRecvFD(t *testing.T) {
	type results struct{ Sent, Received, FromPeer num }
	got := shared[results](t)
	a, b := socketpair(t, unix.SOCK_STREAM)
	r, w := pipe(t, 0)
	data, room := []byte("1"), make([]byte, 8)
	sender := fork(t)
	if sender == 0 {
		got.Sent.N, got.Sent.Errno = child.SendFD(a, w, data)
		child.Exit(0)
	}
	forktest.WantExit(t, sender, 0)
	drop(w)
	receiver := fork(t)
	if receiver == 0 {
		n, fd, errno := child.RecvFD(b, room)
		got.Received = num{n, errno}
		got.FromPeer.N, got.FromPeer.Errno = child.WriteString(fd, "hello")
		child.Exit(0)
	}
	forktest.WantExit(t, receiver, 0)
	if diff := cmp.Diff(results{num{1, 0}, num{1, 0}, num{5, 0}}, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := string(all(t, r)); got != "hello" {
		t.Errorf("read %q, want hello", got)
	}
}

// The layout is the kernel's.
func TestPollFdIsStructPollfd(t *testing.T) {
	var ours child.PollFd
	var kernels unix.PollFd
	if unsafe.Sizeof(ours) != unsafe.Sizeof(kernels) ||
		unsafe.Offsetof(ours.Events) != unsafe.Offsetof(kernels.Events) ||
		unsafe.Offsetof(ours.Revents) != unsafe.Offsetof(kernels.Revents) {
		t.Error("PollFd isn't laid out as struct pollfd")
	}
}
