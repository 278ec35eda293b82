//go:build amd64 || arm64

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/internal/text"
	"rawfork/probe"
)

// defaultTimeout is how long a call may take until the command timeout says otherwise.
const defaultTimeout = 5 * time.Second

// A shell runs commands.
type shell struct {
	out   io.Writer
	style text.Style

	mu      sync.Mutex // held while a command runs
	probes  []*probe.Probe
	current int // 0 for the program itself, n for probes[n-1]
	timeout time.Duration
	quit    bool
	execed  map[*probe.Probe]bool // children that are other programs

	running atomic.Pointer[running] // the command that runs, or the last one
	watch   func() (stop func())    // looks out for Ctrl-C, if there is a terminal
}

func newShell(out io.Writer, style text.Style) *shell {
	return &shell{out: out, style: style, timeout: defaultTimeout, execed: map[*probe.Probe]bool{}}
}

// close ends all children.
func (s *shell) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, p := range s.probes {
		errs = append(errs, p.Close())
	}
	s.probes = nil
	return errors.Join(errs...)
}

// run runs the lines that next gives until it gives io.EOF, a line says quit, or failed
// gives an error for one that a line gave. When ctx is done it returns the cause. All
// children are gone then.
//
// Calls that concern a thread are made by one thread.
func (s *shell) run(ctx context.Context, next func() (string, error), failed func(error) error) (err error) {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: what is a thread's own may have changed
		done <- s.loop(ctx, next, failed)
	}()
	select {
	case err = <-done:
	case <-ctx.Done(): // next may wait for a line for ever
		err = context.Cause(ctx)
		s.interrupt()
	}
	return errors.Join(err, s.close())
}

func (s *shell) loop(ctx context.Context, next func() (string, error), failed func(error) error) error {
	for !s.quit && ctx.Err() == nil {
		line, err := next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			if err = s.do(ctx, line); err != nil {
				err = failed(err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// do runs one line.
func (s *shell) do(ctx context.Context, line string) error {
	words, err := split(line)
	if err != nil || len(words) == 0 {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.command(words)
}

// command runs the command that words are. "child N COMMAND" and "parent COMMAND" run
// it in that process, and without a COMMAND make that process the current one.
func (s *shell) command(words []word) error {
	inside := false
	if name := words[0].text; name == "child" || name == "parent" {
		who, rest := 0, words[1:]
		if name == "child" {
			if len(rest) == 0 {
				return fmt.Errorf("child: which one? Usage: child CHILD [COMMAND...]")
			}
			var err error
			if who, err = s.child(rest[0].text); err != nil {
				return err
			}
			rest = rest[1:]
		}
		if len(rest) == 0 {
			s.current = who
			return nil
		}
		defer func(was int) { s.current = was }(s.current)
		s.current, inside, words = who, true, rest
	}
	c := find(words[0].text, inside)
	switch {
	case c == nil && inside:
		return fmt.Errorf("%s: no such call; try help", words[0].text)
	case c == nil:
		return fmt.Errorf("%s: no such command; try help", words[0].text)
	}
	values, err := s.values(c, words[1:])
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	defer s.begin(c)()
	if s.watch != nil && !s.readsTerminal(c, values) {
		defer s.watch()()
	}
	said, err := c.run(s, values)
	if err != nil {
		return fmt.Errorf("%s%s: %w", s.where(c), c.name, s.plain(err))
	}
	if said != "" {
		_, err = fmt.Fprintln(s.out, strings.TrimRight(said, "\n"))
	}
	return err
}

// where says in which process a call was made.
func (s *shell) where(c *command) string {
	if !c.inside {
		return ""
	}
	return name(s.current) + ": "
}

func name(who int) string {
	if who == 0 {
		return "parent"
	}
	return fmt.Sprintf("child %d", who)
}

// plain says of an error what somebody who typed the command doesn't know.
func (s *shell) plain(err error) error {
	var errno syscall.Errno
	var dead *probe.DeadError
	switch {
	case s.wasCut() && errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("Ctrl-C: EINTR: %w", syscall.EINTR)
	case s.wasCut() && errors.As(err, &dead):
		return fmt.Errorf("Ctrl-C: %w", dead)
	case s.wasCut() && errors.As(err, &errno):
		return fmt.Errorf("Ctrl-C: %s: %w", unix.ErrnoName(errno), errno)
	case s.wasCut():
		return fmt.Errorf("Ctrl-C: %w", err)
	case errors.As(err, &dead):
		return dead
	case errors.Is(err, os.ErrDeadlineExceeded) && s.current == 0:
		return fmt.Errorf("interrupted after %v (see timeout): %w", s.timeout, os.ErrDeadlineExceeded)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it goes on after %v (see timeout): %w", s.timeout, os.ErrDeadlineExceeded)
	case errors.As(err, &errno):
		return fmt.Errorf("%s: %w", unix.ErrnoName(errno), errno)
	}
	return err
}

// A process is the program itself, or a child of it.
type process interface {
	Syscall(trap uintptr, args ...any) (uintptr, error)
	Peek(addr uintptr, n int) ([]byte, error)
	Poke(addr uintptr, b []byte) error
}

func (s *shell) process() process {
	if s.current == 0 {
		return parent{s.timeout, s.running.Load().cut}
	}
	return s.probes[s.current-1]
}

// errParent says that only a child can do this.
var errParent = errors.New("only a child can do this")

// probe is the current process, which must be a child.
func (s *shell) probe() (*probe.Probe, error) {
	if s.current == 0 {
		return nil, errParent
	}
	return s.probes[s.current-1], nil
}
