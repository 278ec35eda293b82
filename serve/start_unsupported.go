//go:build !(linux && cgo && (amd64 || arm64))

package serve

import (
	"fmt"
	"net"
)

func (h forkHandler) start(net.Conn, childOptions) (int, error)                { return noStart() }
func (p *Program) start(string, []string, net.Conn, childOptions) (int, error) { return noStart() }
func (h *goHandler) start(net.Conn, childOptions) (int, error)                 { return noStart() }

func noStart() (int, error) { return 0, fmt.Errorf("fork: %w", errNoFile) }
