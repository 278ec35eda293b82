//go:build cgo && (amd64 || arm64)

package child_test

import (
	"crypto/sha256"
	"io"
	"math/rand"
	"os"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/child"
	"rawfork/internal/forktest"
)

//go:norace
func TestReadAndWriteErrors(t *testing.T) {
	type results struct {
		ReadClosed, ReadWriteOnly, ReadDirectory, ReadForbidden, ReadEmpty, ReadTimeout num
		FullClosed, FullEnd, FullTimeout                                                num
		WriteClosed, WriteReadOnly, WriteForbidden, WriteEmpty, WriteEmptyClosed        num
		WriteFullDevice, StringClosed, IntClosed, WritePeerGone, WriteTimeout           num
		LineClosed, CopyNoSource, CopyNoDest, CopyFullDevice                            num
	}
	got := shared[results](t)
	b, bad := make([]byte, 100), forbidden(t)
	r, w := pipe(t, 0)
	dir, full, null, zero := open(t, "/", unix.O_RDONLY), open(t, "/dev/full", unix.O_WRONLY),
		open(t, "/dev/null", unix.O_RDWR), open(t, "/dev/zero", unix.O_RDONLY)
	gone, peer := socketpair(t, unix.SOCK_STREAM)
	drop(peer)
	slow, _ := socketpair(t, unix.SOCK_STREAM) // a blocking socket, with timeouts
	timeout := unix.Timeval{Usec: 1000}
	must(t, unix.SetsockoptTimeval(slow, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	must(t, unix.SetsockoptTimeval(slow, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout))
	large := make([]byte, 1<<20)
	ignore := &sigaction{handler: 1} // SIG_IGN

	pid := fork(t)
	if pid == 0 {
		var line child.Line
		handle(syscall.SIGPIPE, ignore)
		got.ReadClosed.N, got.ReadClosed.Errno = child.Read(-1, b)
		got.ReadWriteOnly.N, got.ReadWriteOnly.Errno = child.Read(w, b)
		got.ReadDirectory.N, got.ReadDirectory.Errno = child.Read(dir, b)
		got.ReadForbidden.N, got.ReadForbidden.Errno = child.Read(zero, bad)
		got.ReadEmpty.N, got.ReadEmpty.Errno = child.Read(r, nil)
		got.ReadTimeout.N, got.ReadTimeout.Errno = child.Read(slow, b)
		got.FullClosed.N, got.FullClosed.Errno = child.ReadFull(-1, b)
		got.FullEnd.N, got.FullEnd.Errno = child.ReadFull(null, b)
		got.FullTimeout.N, got.FullTimeout.Errno = child.ReadFull(slow, b)
		got.WriteClosed.N, got.WriteClosed.Errno = child.Write(-1, b)
		got.WriteReadOnly.N, got.WriteReadOnly.Errno = child.Write(r, b)
		got.WriteForbidden.N, got.WriteForbidden.Errno = child.Write(w, bad)
		got.WriteEmpty.N, got.WriteEmpty.Errno = child.Write(w, nil)
		got.WriteEmptyClosed.N, got.WriteEmptyClosed.Errno = child.Write(-1, nil)
		got.WriteFullDevice.N, got.WriteFullDevice.Errno = child.Write(full, b)
		got.StringClosed.N, got.StringClosed.Errno = child.WriteString(-1, "text")
		got.IntClosed.N, got.IntClosed.Errno = child.WriteInt(-1, 7)
		got.WritePeerGone.N, got.WritePeerGone.Errno = child.Write(gone, b)
		got.WriteTimeout.N, got.WriteTimeout.Errno = child.Write(slow, large)
		got.LineClosed.N, got.LineClosed.Errno = line.Text("x").Write(-1)
		n, errno := child.Copy(w, -1)
		got.CopyNoSource = num{int(n), errno}
		n, errno = child.Copy(-1, zero)
		got.CopyNoDest = num{int(n), errno}
		n, errno = child.Copy(full, zero)
		got.CopyFullDevice = num{int(n), errno}
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)

	want := results{
		ReadClosed:       num{-1, syscall.EBADF},
		ReadWriteOnly:    num{-1, syscall.EBADF},
		ReadDirectory:    num{-1, syscall.EISDIR},
		ReadForbidden:    num{-1, syscall.EFAULT},
		ReadTimeout:      num{-1, syscall.EAGAIN},
		FullClosed:       num{0, syscall.EBADF},
		FullTimeout:      num{0, syscall.EAGAIN},
		WriteClosed:      num{0, syscall.EBADF},
		WriteReadOnly:    num{0, syscall.EBADF},
		WriteForbidden:   num{0, syscall.EFAULT},
		WriteEmptyClosed: num{0, syscall.EBADF},
		WriteFullDevice:  num{0, syscall.ENOSPC},
		StringClosed:     num{0, syscall.EBADF},
		IntClosed:        num{0, syscall.EBADF},
		WritePeerGone:    num{0, syscall.EPIPE},
		WriteTimeout:     num{got.WriteTimeout.N, syscall.EAGAIN}, // what the socket took
		LineClosed:       num{0, syscall.EBADF},
		CopyNoSource:     num{0, syscall.EBADF},
		CopyNoDest:       num{0, syscall.EBADF},
		CopyFullDevice:   num{0, syscall.ENOSPC},
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := got.WriteTimeout.N; n <= 0 || n >= len(large) {
		t.Errorf("Write with a timeout wrote %d bytes, want some of %d", n, len(large))
	}
}

// SIGPIPE is at its default action in the child, which kills.
//
//go:norace
func TestWriteToNobody(t *testing.T) {
	r, w := pipe(t, 0)
	drop(r)
	pid := fork(t)
	if pid == 0 {
		child.WriteString(w, "is anybody there?")
		child.Exit(0)
	}
	forktest.WantSignal(t, pid, syscall.SIGPIPE)
}

// Every size of text, as it is to be read.
//
//go:norace
func TestWriteText(t *testing.T) {
	r, w := pipe(t, 0)
	ready := shared[[4]num](t)
	pid := fork(t)
	if pid == 0 {
		ready[0].N, ready[0].Errno = child.WriteInt(w, -1<<63)
		ready[1].N, ready[1].Errno = child.WriteString(w, " ")
		ready[2].N, ready[2].Errno = child.WriteInt(w, 0)
		var line child.Line
		ready[3].N, ready[3].Errno = line.Text(" line ").Int(-42).Text("\n").Write(w)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	drop(w)
	if diff := cmp.Diff("-9223372036854775808 0 line -42\n", string(all(t, r))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([4]num{{20, 0}, {1, 0}, {1, 0}, {10, 0}}, *ready); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// all reads fd to its end.
func all(t *testing.T, fd int) []byte {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	file := os.NewFile(uintptr(dup), "")
	defer file.Close()
	b, err := io.ReadAll(file)
	must(t, err)
	return b
}

// random makes n bytes that show every loss, repetition and change of order.
func random(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(1)).Read(b)
	return b
}

// A Write of more than a pipe holds goes on after short writes and after EAGAIN,
// and so does a ReadFull.
//
//go:norace
func TestWriteAndReadFullWait(t *testing.T) {
	for name, flags := range map[string]int{"blocking": 0, "non-blocking": unix.O_NONBLOCK} {
		t.Run(name, func(t *testing.T) {
			data := random(3 << 20)
			got := shared[struct{ Wrote, Read num }](t)
			sum := mapped(t, len(data), unix.PROT_READ|unix.PROT_WRITE)
			r, w := pipe(t, flags)
			writer := forkWriter(t, w, data, &got.Wrote)
			waitInCall(t, writer, map[int]int{0: unix.SYS_WRITE, unix.O_NONBLOCK: unix.SYS_PPOLL}[flags]) // full
			reader := forkReader(t, r, sum, &got.Read)
			forktest.WantExit(t, writer, 0)
			forktest.WantExit(t, reader, 0)
			want := struct{ Wrote, Read num }{num{len(data), 0}, num{len(data), 0}}
			if diff := cmp.Diff(want, *got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if sha256.Sum256(sum) != sha256.Sum256(data) {
				t.Error("what was read isn't what was written")
			}
		})
	}
}

//go:norace
func forkWriter(t *testing.T, fd int, data []byte, got *num) int {
	pid := fork(t)
	if pid == 0 {
		got.N, got.Errno = child.Write(fd, data)
		child.Exit(0)
	}
	return pid
}

//go:norace
func forkReader(t *testing.T, fd int, data []byte, got *num) int {
	pid := fork(t)
	if pid == 0 {
		got.N, got.Errno = child.ReadFull(fd, data)
		child.Exit(0)
	}
	return pid
}

// A Read of a descriptor that is non-blocking waits in poll(2) until there is
// something, over being stopped and continued.
//
//go:norace
func TestReadWaits(t *testing.T) {
	got := shared[struct{ Raw, Data, End num }](t)
	b := make([]byte, 100)
	r, w := pipe(t, unix.O_NONBLOCK)
	pid := fork(t)
	if pid == 0 {
		child.Close(w)
		_, got.Raw.Errno = child.Syscall(unix.SYS_READ, uintptr(r), uintptr(unsafe.Pointer(unsafe.SliceData(b))), 1, 0, 0, 0)
		got.Data.N, got.Data.Errno = child.Read(r, b)
		got.End.N, got.End.Errno = child.Read(r, b)
		child.Exit(0)
	}
	waitInCall(t, pid, unix.SYS_PPOLL)
	stopAndContinue(t, pid)
	waitInCall(t, pid, unix.SYS_PPOLL)
	unix.Write(w, []byte("data"))
	drop(w)
	forktest.WantExit(t, pid, 0)
	want := struct{ Raw, Data, End num }{num{0, syscall.EAGAIN}, num{4, 0}, num{0, 0}}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Every call that waits goes on after a signal that was handled; Pause returns.
//
//go:norace
func TestSignalInterrupts(t *testing.T) {
	const pause = 8 // the case that a signal ends
	for i, test := range []struct {
		name string
		trap int // what the child waits in
		want num
	}{
		{"Read", unix.SYS_READ, num{4, 0}},
		{"Read of non-blocking", unix.SYS_PPOLL, num{4, 0}},
		{"ReadFull", unix.SYS_READ, num{4, 0}},
		{"Write", unix.SYS_WRITE, num{1 << 20, 0}},
		{"Accept", unix.SYS_ACCEPT4, num{0, 0}},
		{"RecvFD", unix.SYS_RECVMSG, num{4, 0}},
		{"Poll", unix.SYS_PPOLL, num{1, 0}},
		{"Wait4", unix.SYS_WAIT4, num{0, 0}},
		{"Pause", unix.SYS_PPOLL, num{0, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			interrupt(t, i, test.trap, test.want, i == pause)
		})
	}
}

//go:norace
func interrupt(t *testing.T, i, trap int, want num, ends bool) {
	got := shared[num](t)
	action, handled := counter(t)
	b, large := make([]byte, 4), random(1<<20)
	r, w := pipe(t, 0)
	rNonblocking, wNonblocking := pipe(t, unix.O_NONBLOCK)
	rFull, wFull := pipe(t, 0)
	sock, peer := socketpair(t, unix.SOCK_STREAM)
	server, address := listener(t, 0)
	fds := []child.PollFd{{Fd: int32(r), Events: unix.POLLIN}}
	pid := fork(t)
	if pid == 0 {
		handle(syscall.SIGUSR1, action)
		switch i {
		case 0:
			got.N, got.Errno = child.Read(r, b)
		case 1:
			got.N, got.Errno = child.Read(rNonblocking, b)
		case 2:
			got.N, got.Errno = child.ReadFull(r, b)
		case 3:
			got.N, got.Errno = child.Write(wFull, large)
		case 4:
			_, got.Errno = child.Accept(server, 0)
		case 5:
			got.N, _, got.Errno = child.RecvFD(sock, b)
		case 6:
			got.N, got.Errno = child.Poll(fds, -1)
		case 7:
			grandchild, _ := child.Fork()
			if grandchild == 0 {
				child.Read(r, b)
				child.Exit(0)
			}
			_, _, got.Errno = child.Wait4(grandchild, 0)
		case 8:
			child.Pause()
		}
		child.Exit(0)
	}
	for n := uint64(1); n <= 3 && !(ends && n > 1); n++ {
		waitInCall(t, pid, trap)
		must(t, unix.Kill(pid, unix.SIGUSR1))
		waitUntil(t, pid, "in its handler", func() bool { return *handled == n })
	}
	if !ends {
		waitInCall(t, pid, trap)
		for _, fd := range []int{w, wNonblocking, peer} {
			unix.Write(fd, []byte("data"))
		}
		connect(t, address)
		drop(wFull)
		if i == 3 {
			all(t, rFull)
		}
	}
	forktest.WantExit(t, pid, 0)
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

//go:norace
func TestPoll(t *testing.T) {
	type results struct {
		None, Empty, TimedOut, Negative, Ready, Closed, HungUp, TooMany, Forbidden num
	}
	got := shared[results](t)
	r, w := pipe(t, 0)
	filled, w2 := pipe(t, 0)
	must2(t)(unix.Write(w2, []byte("x")))
	hung, w3 := pipe(t, 0)
	drop(w3)
	closed, w4 := pipe(t, 0)
	fd := func(fd int) []child.PollFd { return []child.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} }
	quiet, negative, ready, nval, hup := fd(r), append(fd(-7), fd(w)...), append(fd(r), fd(filled)...), fd(closed), fd(hung)
	negative[1].Events = unix.POLLOUT
	bad := unsafe.Slice((*child.PollFd)(unsafe.Pointer(&forbidden(t)[0])), 1)
	revents := shared[[5]int16](t)
	pid := fork(t)
	if pid == 0 {
		child.Close(closed)
		got.None.N, got.None.Errno = child.Poll(nil, 0)
		got.Empty.N, got.Empty.Errno = child.Poll(quiet, 0)
		got.TimedOut.N, got.TimedOut.Errno = child.Poll(quiet, 2*time.Millisecond)
		got.Negative.N, got.Negative.Errno = child.Poll(negative, -1)
		got.Ready.N, got.Ready.Errno = child.Poll(ready, time.Hour)
		got.Closed.N, got.Closed.Errno = child.Poll(nval, -1)
		got.HungUp.N, got.HungUp.Errno = child.Poll(hup, -1)
		got.Forbidden.N, got.Forbidden.Errno = child.Poll(bad, 0)
		limitFDs(1)
		got.TooMany.N, got.TooMany.Errno = child.Poll(ready, 0)
		revents[0], revents[1], revents[2] = negative[0].Revents, negative[1].Revents, ready[1].Revents
		revents[3], revents[4] = nval[0].Revents, hup[0].Revents
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	drop(w4)
	want := results{
		Negative: num{1, 0}, Ready: num{1, 0}, Closed: num{1, 0}, HungUp: num{1, 0},
		TooMany: num{-1, syscall.EINVAL}, Forbidden: num{-1, syscall.EFAULT},
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wantEvents := [5]int16{0, unix.POLLOUT, unix.POLLIN, unix.POLLNVAL, unix.POLLHUP}
	if diff := cmp.Diff(wantEvents, *revents); diff != "" {
		t.Errorf("revents (-want +got)\n%s", diff)
	}
}

func must2(t *testing.T) func(int, error) {
	return func(_ int, err error) { t.Helper(); must(t, err) }
}
