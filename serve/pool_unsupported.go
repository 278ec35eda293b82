//go:build !(linux && cgo && (amd64 || arm64))

package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
)

type poolState struct{}

// Serve always returns [errors.ErrUnsupported] here.
func (p *Pool) Serve(...net.Listener) error {
	return fmt.Errorf("pool: fork: %w", errors.ErrUnsupported)
}

// Reload always returns [errors.ErrUnsupported] here.
func (p *Pool) Reload() error { return fmt.Errorf("pool: fork: %w", errors.ErrUnsupported) }

// Shutdown does nothing here.
func (p *Pool) Shutdown(context.Context) error { return nil }

// Counts returns nothing here.
func (p *Pool) Counts() PoolCounts { return PoolCounts{} }
