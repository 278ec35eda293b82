package serve

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"rawfork"
)

// Pool serves the connections of a listener in children that are forked ahead and
// used again (C16), for many brief connections. The fields are set before Serve and
// not changed after. A Pool serves once.
//
// There is no Deadline as a [Server] has it: only the child knows when a client begins.
// A handler sets its own by setitimer(2), and takes it back in the end: SIGALRM ends
// the child, which is replaced.
//
// The children end with the program, however that ends.
type Pool struct {
	// Handler serves a connection in a child: a constrained function, as for [Fork].
	// It is called again and again in the same child; the connection is closed after
	// each call. SIGPIPE is ignored there.
	Handler func(fd int)

	// Children is how many there are, 1 to 1,000.
	Children int

	// Keep are descriptors that the children keep, besides 0, 1, 2 and their own: that
	// of a lock.Mutex, for one. At most 8.
	Keep []int

	// HandOver has this process accept the connections and hand them to the children
	// over a Unix socket. Without it the children accept for themselves.
	HandOver bool

	// MaxConnections is how many connections a child serves before it ends and is
	// replaced, 0 for any number. MaxGrowth is by how many bytes its resident memory
	// may grow before that happens, 0 for any number.
	MaxConnections int
	MaxGrowth      int64

	// Grace is the time between SIGTERM and SIGKILL when a shutdown's context is
	// done; 0 is 5 seconds.
	Grace time.Duration

	// Log gets what goes wrong, and each child's start and end at level Debug. nil
	// logs nothing.
	Log *slog.Logger

	state poolState
}

// maxPool is how many children a Pool may have.
const maxPool = 1000

// maxKeep is how many descriptors Pool.Keep may have.
const maxKeep = 8

// Check finds what Serve would refuse at its start: EINVAL for a field or a number of
// listeners that can't be, or those of [rawfork.WithFD] for a listener.
func (p *Pool) Check(listeners ...net.Listener) error {
	if err := p.check(listeners); err != nil {
		return fmt.Errorf("pool: %w", err)
	}
	return nil
}

func (p *Pool) check(listeners []net.Listener) error {
	switch {
	case p.Handler == nil:
		return fmt.Errorf("nil Handler: %w", syscall.EINVAL)
	case p.Children < 1 || p.Children > maxPool:
		return fmt.Errorf("number of Children %d is not in 1 to %d: %w", p.Children, maxPool, syscall.EINVAL)
	case len(p.Keep) > maxKeep:
		return fmt.Errorf("%d descriptors in Keep, above %d: %w", len(p.Keep), maxKeep, syscall.EINVAL)
	case p.MaxConnections < 0 || p.MaxGrowth < 0 || p.Grace < 0:
		return fmt.Errorf("MaxConnections %d, MaxGrowth %d or Grace %v is negative: %w", p.MaxConnections, p.MaxGrowth, p.Grace, syscall.EINVAL)
	case len(listeners) == 0:
		return fmt.Errorf("no listener: %w", syscall.EINVAL)
	case len(listeners) > p.Children:
		return fmt.Errorf("%d listeners for %d children: %w", len(listeners), p.Children, syscall.EINVAL)
	}
	for _, listener := range listeners {
		if err := rawfork.WithFD(listener, func(int) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// PoolCounts is what a Pool has counted since its start.
type PoolCounts struct {
	Children    int // that there are now, those that finish after a reload among them
	Started     int // children
	Connections int // that were served to the end
	Recycled    int // children that ended since they had served or grown enough
	Died        int // children that ended otherwise, but for reloads and the shutdown
	FailedForks int

	// Exits counts the children that were reaped by how they ended.
	Exits map[syscall.WaitStatus]int
}

// String puts the counts into one line.
func (c PoolCounts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "children %d, started %d, connections %d, recycled %d, died %d, failed forks %d",
		c.Children, c.Started, c.Connections, c.Recycled, c.Died, c.FailedForks)
	writeExits(&b, c.Exits)
	return b.String()
}
