package reap

import (
	"errors"
	"syscall"
	"time"
)

// ErrClosed is what waits and calls return after [Reaper.Close].
var ErrClosed = errors.New("the reaper is closed")

// Options say how a Reaper works. The zero value reaps what is handed over, and
// tells by [Child.Wait] and [Child.Done] only.
type Options struct {
	// OnExit is called for each child that was reaped, once, after its Done channel
	// is closed. Calls don't overlap. While it runs nothing else is reaped, so it
	// should not take long; it may call the Reaper's methods, but for Close.
	OnExit func(Exit)

	// Orphans makes the process a subreaper, and the Reaper take the orphans that it
	// is given: see the package's comment. They are reported to OnExit only.
	Orphans bool
}

// Exit says how a child ended.
type Exit struct {
	Pid    int
	Status syscall.WaitStatus
	Usage  syscall.Rusage // of the child and of those that it had waited for
	Time   time.Time      // when it was reaped
	Orphan bool           // it wasn't handed over, but adopted
}
