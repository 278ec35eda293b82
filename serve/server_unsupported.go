//go:build !(linux && cgo && (amd64 || arm64))

package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
)

type serverState struct{}

// Serve always returns [errors.ErrUnsupported] here.
func (s *Server) Serve(net.Listener) error {
	return fmt.Errorf("serve: fork: %w", errors.ErrUnsupported)
}

// Shutdown does nothing here.
func (s *Server) Shutdown(context.Context) error { return nil }

// Counts returns nothing here.
func (s *Server) Counts() Counts { return Counts{} }

type peer struct{}

func (h forkHandler) start(int, *peer, childOptions) (int, error)                { return noStart() }
func (p *Program) start(string, []string, int, *peer, childOptions) (int, error) { return noStart() }
func (h *goHandler) start(int, *peer, childOptions) (int, error)                 { return noStart() }

func noStart() (int, error) { return 0, fmt.Errorf("fork: %w", errors.ErrUnsupported) }
