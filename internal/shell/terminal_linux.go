//go:build amd64 || arm64

package shell

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"rawfork/internal/text"
)

// Interact runs what is typed at a terminal: with a prompt that names the current
// process, the lines typed before by the arrow keys, completion by the tab key. Ctrl-C
// drops the line, Ctrl-D ends the shell. The error of a line is shown, and it goes on.
// When ctx ends it the error is its cause. The terminal is then as it was.
func Interact(ctx context.Context, in, out *os.File, style text.Style) (err error) {
	fd := int(in.Fd())
	restore, err := makeRaw(fd)
	if err != nil {
		return err
	}
	defer restore()
	terminal := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys{in}, lines{out}}, "")
	s := newShell(terminal, style)
	defer s.followSize(fd, terminal)()
	terminal.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		line, pos, list := s.complete(line, pos)
		if list != "" {
			fmt.Fprintln(terminal, list)
		}
		return line, pos, true
	}
	next := func() (string, error) {
		terminal.SetPrompt(name(s.current) + "> ")
		line, err := terminal.ReadLine()
		if err == term.ErrPasteIndicator {
			err = nil
		}
		return line, err
	}
	return s.run(ctx, next, func(err error) error {
		for _, line := range style.Wrap(err.Error(), "") {
			fmt.Fprintln(terminal, line)
		}
		return nil
	})
}

// makeRaw has the terminal give each key at once. What the children write is still
// made lines of, so their output looks as ever.
func makeRaw(fd int) (restore func(), err error) {
	was, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	restore = func() { term.Restore(fd, was) }
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		mode.Oflag |= unix.OPOST | unix.ONLCR
		err = unix.IoctlSetTermios(fd, unix.TCSETS, mode)
	}
	if err != nil {
		restore()
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return restore, nil
}

// followSize tells the line editor the size of the terminal, now and when it changes.
func (s *shell) followSize(fd int, terminal *term.Terminal) (stop func()) {
	set := func() {
		if width, height, err := term.GetSize(fd); err == nil && width > 0 {
			terminal.SetSize(width, height)
		}
	}
	set()
	changed, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changed:
				set()
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(changed); close(done) }
}

// keys gives Ctrl-C the meaning that it has for a shell, and not that of the line
// editor, which would end: the line is dropped.
type keys struct{ in io.Reader }

const (
	ctrlC    = "\x03"
	dropLine = "\x05\x15" // to the end of the line, and delete all before
)

func (k keys) Read(b []byte) (int, error) {
	n, err := k.in.Read(b[:max(1, len(b)/len(dropLine))])
	return copy(b, bytes.ReplaceAll(b[:n], []byte(ctrlC), []byte(dropLine))), err
}

// lines writes what the line editor ends by CR and LF for a terminal that makes that
// out of LF.
type lines struct{ out io.Writer }

func (l lines) Write(b []byte) (int, error) {
	_, err := l.out.Write(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")))
	return len(b), err
}
