//go:build cgo && (amd64 || arm64)

package rules

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/probe"
	"rawfork/procstate"
)

// What checks use that work with this program's own descriptors and children.

// pipe makes a pipe that is closed after the check. Reads from it end in time.
func (t *T) pipe() (r, w *os.File) {
	r, w, err := os.Pipe()
	t.Must(err)
	t.Cleanup(func() { r.Close(); w.Close() })
	t.Must(r.SetReadDeadline(time.Now().Add(timeout)))
	return r, w
}

// readAll fills b.
func (t *T) readAll(r io.Reader, b []byte) {
	_, err := io.ReadFull(r, b)
	t.Must(err)
}

// reapLater ends and reaps a child at the end of the check.
func (t *T) reapLater(pid int) {
	t.Cleanup(func() {
		unix.Kill(pid, unix.SIGKILL)
		rawfork.Wait(pid)
	})
}

// severalThreads has this program run at least two threads from now on.
func (t *T) severalThreads() {
	begun, end := make(chan bool), make(chan bool)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		begun <- true
		<-end
	}()
	<-begun
	t.Cleanup(func() { close(end) })
}

// bytesOf is the memory of *p, for a V without pointers.
func bytesOf[V any](p *V) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// file makes a file of a page that begins with text. It is closed after the check.
func (t *T) file(text string) *os.File {
	file, err := os.OpenFile(filepath.Join(t.Dir(), "file"), os.O_RDWR|os.O_CREATE, 0o600)
	t.Must(err)
	t.Cleanup(func() { file.Close() })
	_, err = file.WriteString(text)
	t.Must(err)
	t.Must(file.Truncate(int64(page)))
	_, err = file.Seek(0, io.SeekStart)
	t.Must(err)
	return file
}

// contents reads all of a file.
func (t *T) contents(file *os.File) string {
	text, err := contents(file)
	t.Must(err)
	return text
}

// held reads memory of a process that can't be asked: it is held in a call.
func (p *Process) held(addr uintptr, n int) string {
	b := make([]byte, n)
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(n)
	_, err := unix.ProcessVMReadv(p.Pid(), local, []unix.RemoteIovec{{Base: addr, Len: n}}, 0)
	p.t.Must(err)
	return string(b)
}

// page is the size of a page: what rules do with memory, they do with whole ones.
var page = os.Getpagesize()

// pages is how many pages a number of bytes is.
func pages(bytes uint64) int { return int(bytes) / page }

// success is no errno.
const success = syscall.Errno(0)

// Operations of futex(2), between processes.
const (
	futexWait = 0
	futexWake = 1
)

// What a kcmp(2) compares.
const (
	kcmpFile = iota
	kcmpVM
	kcmpFiles
	kcmpFS
	kcmpSighand
	kcmpIO
	kcmpSysvsem
)

// compare asks kcmp(2) whether two processes have the same of a kind: 0 for yes.
func (p *Process) compare(other *Process, kind, index1, index2 int) int {
	r, _, errno := syscall.RawSyscall6(unix.SYS_KCMP, uintptr(p.Pid()), uintptr(other.Pid()), uintptr(kind),
		uintptr(index1), uintptr(index2), 0)
	switch errno {
	case 0:
		return int(r)
	case unix.ENOSYS, unix.EPERM, unix.EOPNOTSUPP:
		p.t.Skip("kcmp: %v", errno)
	}
	p.t.Must(os.NewSyscallError("kcmp", errno))
	return -1
}

// read reads up to n bytes once.
func (p *Process) read(fd, n int) string {
	b := make([]byte, n)
	n, err := p.Read(fd, b)
	p.t.Must(err)
	return string(b[:n])
}

// write writes text at once.
func (p *Process) write(fd int, text string) {
	n, err := p.Write(fd, []byte(text))
	p.t.Must(err)
	if n != len(text) {
		p.t.Fatal("%d of %d bytes written", n, len(text))
	}
}

// readable tells whether a read would not block: something is there, or the end.
func (p *Process) readable(fd int) bool { return p.poll(fd, 0) }

// poll waits for fd to be readable.
func (p *Process) poll(fd int, limit time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	ts := unix.NsecToTimespec(int64(limit))
	return p.Call(unix.SYS_PPOLL, fds, 1, &ts, nil, 0) == 1
}

// socketpair makes a pair of connected sockets.
func (p *Process) socketpair(kind int) (near, far int) {
	var fds [2]int32
	p.Call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, kind, 0, &fds)
	return int(fds[0]), int(fds[1])
}

// watch makes an epoll instance that watches fd for something to read.
func (p *Process) watch(fd int) (epoll int) {
	epoll, err := p.EpollCreate1(0)
	p.t.Must(err)
	p.t.Must(p.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	return epoll
}

// events is how many events epoll has.
func (p *Process) events(epoll int) int {
	n, err := p.EpollWait(epoll, make([]unix.EpollEvent, 4), 0)
	p.t.Must(err)
	return n
}

// listener is a socket that a process listens on, at an abstract address.
type listener struct {
	fd      int
	address [18]byte // struct sockaddr_un, cut off
}

// listen listens at an address that the kernel picks.
func (p *Process) listen() listener {
	l := listener{fd: p.Call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)}
	family := uint16(unix.AF_UNIX)
	p.Call(unix.SYS_BIND, l.fd, &family, unsafe.Sizeof(family))
	length := uint32(len(l.address))
	p.Call(unix.SYS_GETSOCKNAME, l.fd, &l.address, &length)
	p.Call(unix.SYS_LISTEN, l.fd, 16)
	return l
}

// connect connects to l.
func (p *Process) connect(l listener) (fd int) {
	fd = p.Call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	const autobound = 2 + 6 // the family, a zero and five digits
	p.Call(unix.SYS_CONNECT, fd, &l.address, autobound)
	return fd
}

// count has the process count its signals.
func (p *Process) count(sigs ...syscall.Signal) {
	for _, sig := range sigs {
		_, err := p.Sigaction(sig, &probe.Action{Handler: probe.Count})
		p.t.Must(err)
	}
}

// handled is how often the process counted a signal.
func (p *Process) handled(sig syscall.Signal) int {
	n, err := p.Handled(sig)
	p.t.Must(err)
	return n
}

// ignore has the process ignore a signal.
func (p *Process) ignore(sig syscall.Signal) {
	_, err := p.Sigaction(sig, &probe.Action{Handler: probe.Ignore})
	p.t.Must(err)
}

// block has the process block signals.
func (p *Process) block(sigs ...syscall.Signal) {
	_, err := p.Sigprocmask(unix.SIG_BLOCK, probe.Mask(sigs...))
	p.t.Must(err)
}

// pending are the signals that the process has not been given yet.
func (p *Process) pending() procstate.SignalSet {
	mask, err := p.Sigpending()
	p.t.Must(err)
	return procstate.SignalSet(mask)
}

// statusNumber is a number of /proc/PID/status.
func (p *Process) statusNumber(field string) (value int) {
	for line := range strings.Lines(p.Text("status")) {
		if text, ok := strings.CutPrefix(line, field+":"); ok {
			_, err := fmt.Sscan(text, &value)
			p.t.Must(err)
			return value
		}
	}
	p.t.Fatal("no %s in /proc/%d/status", field, p.Pid())
	return 0
}
