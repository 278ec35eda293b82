package serve

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenReusePort makes n listeners on one address with SO_REUSEPORT: the kernel
// spreads the connections over them by the addresses of the peers. Port 0 takes a free
// one for all. The network is tcp, tcp4 or tcp6.
//
// The listeners belong to the caller. A connection waits in the queue of one of them:
// if that one is closed, it is lost.
func ListenReusePort(network, addr string, n int) ([]net.Listener, error) {
	if n < 1 {
		return nil, fmt.Errorf("listen %s: %d listeners: %w", addr, n, syscall.EINVAL)
	}
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var setErr error
		err := conn.Control(func(fd uintptr) {
			setErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		if err != nil {
			return err
		}
		return os.NewSyscallError("setsockopt", setErr)
	}}
	var listeners []net.Listener
	for range n {
		listener, err := config.Listen(context.Background(), network, addr)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, err
		}
		listeners = append(listeners, listener)
		addr = listener.Addr().String()
	}
	return listeners, nil
}
