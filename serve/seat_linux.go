//go:build cgo && (amd64 || arm64)

package serve

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// seat is what a child of a pool works with. It is made before the fork.
type seat struct {
	listener int              // or -1: connections come over the socket
	stop     int              // ends when the child is to end: a pipe, or the socket itself
	keep     [maxKeep + 5]int // all that stay open
	parent   int
	handler  func(fd int)
	max      int
	growth   int64
	shared   *place // of this child
	stopping *uint64
}

// place is a child's part of the memory that it shares with its parent.
type place struct{ connections uint64 }

func (p *place) load() uint64 { return atomic.LoadUint64(&p.connections) }

// The exit statuses of a pool's child.
const (
	seatStopped  = 0
	seatRecycled = 75 // EX_TEMPFAIL of sysexits.h: come again
)

// fork makes the child, which serves one connection after the other. The loop stands
// in the frame that forks, so the handler has all of the stack that is left.
//
//go:norace
//go:nocheckptr
func (s *seat) fork() (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid != 0 || err != nil {
		return pid, err
	}
	// ---- The child. No function that checks its stack from here on. ----
	child.Setpgid(0, 0)
	diesWith(s.parent)
	ignorePipe()
	if child.KeepOnly(s.keep[:]...) != 0 {
		child.Exit(setupFailed)
	}
	epoll := s.epoll()
	start := maxRSS()
	var data [1]byte // comes with a connection that is handed over
	for {
		var n, fd int
		if s.listener >= 0 {
			fd = s.accept(epoll)
		} else {
			n, fd, _ = child.RecvFD(s.stop, data[:])
		}
		if fd < 0 && n > 0 {
			continue // it couldn't be received; n is 0 at the end
		}
		if fd < 0 {
			child.Exit(seatStopped)
		}
		s.handler(fd)
		child.Close(fd)
		s.shared.connections++
		if s.max > 0 && s.shared.connections >= uint64(s.max) || s.growth > 0 && maxRSS()-start > s.growth {
			child.Exit(seatRecycled)
		}
	}
}

// epoll makes a set in which a connection wakes one child, not all. The parent's set
// is of no use: it belongs to both.
//
//go:nosplit
//go:norace
func (s *seat) epoll() uintptr {
	if s.listener < 0 {
		return 0
	}
	set, errno := child.Syscall(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC, 0, 0, 0, 0, 0)
	var event unix.EpollEvent
	if errno == 0 {
		event.Events, event.Fd = unix.EPOLLIN, int32(s.stop)
		_, errno = child.Syscall(unix.SYS_EPOLL_CTL, set, unix.EPOLL_CTL_ADD, uintptr(s.stop), uintptr(unsafe.Pointer(&event)), 0, 0)
	}
	if errno == 0 {
		event.Events, event.Fd = unix.EPOLLIN|unix.EPOLLEXCLUSIVE, int32(s.listener)
		_, errno = child.Syscall(unix.SYS_EPOLL_CTL, set, unix.EPOLL_CTL_ADD, uintptr(s.listener), uintptr(unsafe.Pointer(&event)), 0, 0)
	}
	if errno != 0 {
		child.Exit(setupFailed)
	}
	return set
}

// accept returns the next connection, or -1 when there is to be none any more.
//
//go:nosplit
//go:norace
func (s *seat) accept(epoll uintptr) int {
	for *s.stopping == 0 {
		fd, errno := child.Syscall(unix.SYS_ACCEPT4, uintptr(s.listener), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(fd)
		case syscall.EAGAIN: // none there, or another child was faster
			var event unix.EpollEvent
			child.Syscall(unix.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(&event)), 1, ^uintptr(0), 0, 0)
			if event.Events != 0 && event.Fd == int32(s.stop) {
				return -1
			}
		case syscall.EINTR, syscall.ECONNABORTED:
		case syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP:
			return -1
		default: // a shortage, of which the client knows nothing
			child.Sleep(10 * time.Millisecond)
		}
	}
	return -1
}

// ignorePipe has a write to a client that is gone give EPIPE, instead of ending the
// child.
//
//go:nosplit
//go:norace
func ignorePipe() {
	action := [4]uintptr{1} // SIG_IGN, no flags, no restorer, an empty mask
	child.Syscall(unix.SYS_RT_SIGACTION, uintptr(unix.SIGPIPE), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}

// maxRSS is how much resident memory this process has had at most.
//
//go:nosplit
//go:norace
func maxRSS() int64 {
	var usage unix.Rusage
	child.Syscall(unix.SYS_GETRUSAGE, 0, uintptr(unsafe.Pointer(&usage)), 0, 0, 0, 0)
	return usage.Maxrss << 10
}
