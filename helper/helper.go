package helper

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Options say how a helper is started. The zero value is a helper without ready
// children.
type Options struct {
	// Ready is how many children are kept booted, waiting for a task. Each costs
	// memory of its own, a few megabytes; a call of Go that finds one saves the
	// milliseconds in which the Go runtime boots. 0 to 1,024, and by 300 less than the
	// hard RLIMIT_NOFILE, as the helper has a descriptor for each.
	Ready int

	// EndWithParent ends the running Go children, by SIGKILL, when this program
	// ends, however it ends. Without it they live on. Waiting children always end
	// with the program.
	//
	// The helper has a pidfd for each such child while it runs. It raises its own soft
	// RLIMIT_NOFILE to the hard one, or 65,536 where that is higher: at that limit, less
	// Ready, further calls fail with EMFILE until a child ends.
	EndWithParent bool
}

const maxReady = 1024

var (
	// ErrStarted is what Start returns while a helper of this program runs.
	ErrStarted = errors.New("a helper runs already")

	// ErrNoInit is what Start returns in a program that hasn't called Init: its
	// children would run main instead of their function.
	ErrNoInit = errors.New("the program hasn't called helper.Init")

	// ErrClosed is what calls return after Close.
	ErrClosed = errors.New("the helper is closed")

	// ErrEnded is what calls return when the helper process has ended by itself or
	// was killed. A new one may be started.
	ErrEnded = errors.New("the helper process has ended")
)

// checkName tells what is wrong with the name of a function.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("empty name: %w", syscall.EINVAL)
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes, above %d: %w", len(name), maxName, syscall.ENAMETOOLONG)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("name %q with a NUL byte: %w", name, syscall.EINVAL)
	}
	return nil
}

const maxName = 4096
