//go:build cgo && amd64

package forkall

import (
	"errors"
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

// deafListener listens on some port and drops whatever comes there, so that to
// accept is to wait. (At a socket that doesn't listen accept fails at once, and
// many a server ends the program then.)
func deafListener() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|socketFlags, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]})
	err = os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, 1))
	}
	if err != nil {
		return -1, errors.Join(err, os.NewSyscallError("close", unix.Close(fd)))
	}
	return fd, nil
}
