package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("the server is shut down")

// Server serves each connection of a listener in a child of its own. The fields are
// set before Serve and not changed after. A Server serves once.
type Server struct {
	Handler Handler

	// MaxChildren is how many children there may be at once, at least 1. When there
	// are so many, further clients wait in the listener's queue; with Refuse their
	// connections are accepted and closed at once.
	MaxChildren int
	Refuse      bool

	// Deadline is how long a child may serve. Then its process group gets SIGTERM,
	// and Grace later SIGKILL. 0 is for ever.
	Deadline time.Duration

	// Grace is the time between SIGTERM and SIGKILL; 0 is 5 seconds.
	Grace time.Duration

	// EndWithServer has the kernel kill the children when this process ends, however
	// it ends. Without it they serve their clients to the end, as orphans. It does
	// nothing for children of [Go], which have helper.Options.EndWithParent.
	EndWithServer bool

	// Log gets what goes wrong, and each child's start and end at level Debug. nil
	// logs nothing.
	Log *slog.Logger

	state serverState
}

// Check finds what Serve would refuse at its start.
func (s *Server) Check(listener net.Listener) error {
	if _, err := s.check(listener); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// check finds what is wrong with the server, and prepares its handler.
func (s *Server) check(listener net.Listener) (starter, error) {
	switch {
	case s.Handler == nil:
		return nil, fmt.Errorf("nil Handler: %w", syscall.EINVAL)
	case s.MaxChildren < 1:
		return nil, fmt.Errorf("MaxChildren %d is below 1: %w", s.MaxChildren, syscall.EINVAL)
	case s.Deadline < 0 || s.Grace < 0:
		return nil, fmt.Errorf("negative Deadline %v or Grace %v: %w", s.Deadline, s.Grace, syscall.EINVAL)
	case listener == nil:
		return nil, fmt.Errorf("nil listener: %w", syscall.EINVAL)
	}
	if _, ok := listener.(syscall.Conn); !ok {
		return nil, fmt.Errorf("connections of a %T have no descriptor: %w", listener, errors.ErrUnsupported)
	}
	return s.Handler.prepare(s.EndWithServer)
}

// isShortage tells whether an error says that something has run out that others will
// give back.
func isShortage(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
