//go:build cgo && amd64

package forkall

import (
	"os"

	"golang.org/x/sys/unix"
)

// cut holds the descriptors that stand in for network sockets in a child that is
// cut off. -1: the child keeps its own.
type cut struct{ listener, stream, datagram int }

// makeCut makes sockets that lead nowhere.
func (o Options) makeCut() (c cut, err error) {
	c = cut{-1, -1, -1}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if !o.KeepListeners {
		if c.listener, err = deafListener(); err != nil {
			return c, err
		}
	}
	if !o.KeepConnections {
		if c.stream, err = orphan(unix.SOCK_STREAM); err != nil {
			return c, err
		}
		c.datagram, err = orphan(unix.SOCK_DGRAM)
	}
	return c, err
}

func (c cut) close() {
	for _, fd := range []int{c.listener, c.stream, c.datagram} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

const socketFlags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK

// orphan is a socket whose peer is gone. A stream is at its end; datagrams never
// come; neither can be written to.
func orphan(kind int) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, kind|socketFlags, 0)
	if err != nil {
		return -1, os.NewSyscallError("socketpair", err)
	}
	unix.Close(pair[1])
	return pair[0], nil
}

// nowhere is an address for documentation (RFC 5737), which no host has.
var nowhere = [4]byte{192, 0, 2, 1}

// deafListener listens at an address that nobody can reach, so that to accept is to
// wait. (At a socket that doesn't listen accept fails at once, and many a server
// ends the program then.)
func deafListener() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|socketFlags, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = os.NewSyscallError("setsockopt IP_FREEBIND", unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1))
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: nowhere}))
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, 1))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
