//go:build !linux

package serve

import (
	"errors"
	"fmt"
	"net"
)

// ListenReusePort makes listeners on linux. Here it always returns
// [errors.ErrUnsupported].
func ListenReusePort(network, addr string, n int) ([]net.Listener, error) {
	return nil, fmt.Errorf("listen %s: %w", addr, errors.ErrUnsupported)
}
