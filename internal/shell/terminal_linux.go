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
// drops the line, or cuts off the command that runs: a child that makes a call gets
// SIGINT, and is killed if it goes on. Ctrl-D ends the shell. The error of a line is
// shown, and it goes on.
// When ctx ends it the error is its cause. The terminal is then as it was.
func Interact(ctx context.Context, in, out *os.File, style text.Style) (err error) {
	fd := int(in.Fd())
	restore, err := makeRaw(fd)
	if err != nil {
		return err
	}
	defer restore()
	keys, err := newKeys(in)
	if err != nil {
		return err
	}
	defer keys.close()
	terminal := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, lines{out}}, "")
	s := newShell(terminal, style)
	s.watch = func() func() { return keys.watch(s.interrupt) }
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
// editor, which would end: the line is dropped. While a command runs it cuts that off.
type keys struct {
	in    *os.File
	stop  *os.File // an eventfd that ends watching
	ahead []byte   // typed while a command ran
}

const (
	ctrlC    = "\x03"
	dropLine = "\x05\x15" // to the end of the line, and delete all before
)

func newKeys(in *os.File) (*keys, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &keys{in: in, stop: os.NewFile(uintptr(fd), "eventfd")}, nil
}

// close gives the eventfd back. Who reads a line may do so for ever.
func (k *keys) close() { k.stop.Close() }

// Read reads what was typed, for the line editor.
func (k *keys) Read(b []byte) (n int, err error) {
	room := b[:max(1, len(b)/len(dropLine))]
	if len(k.ahead) > 0 {
		n = copy(room, k.ahead)
		k.ahead = k.ahead[n:]
	} else {
		n, err = k.in.Read(room)
	}
	return copy(b, bytes.ReplaceAll(b[:n], []byte(ctrlC), []byte(dropLine))), err
}

// watch reads what is typed until stop is called, and keeps it for the next line. Ctrl-C
// calls interrupt, and drops what was typed before it.
func (k *keys) watch(interrupt func()) (stop func()) {
	ended := make(chan struct{})
	fds := []unix.PollFd{{Fd: int32(k.in.Fd()), Events: unix.POLLIN}, {Fd: int32(k.stop.Fd()), Events: unix.POLLIN}}
	go func() {
		defer close(ended)
		b := make([]byte, 100)
		for {
			if _, err := unix.Poll(fds, -1); err == unix.EINTR {
				continue
			} else if err != nil || fds[1].Revents != 0 {
				return
			}
			n, err := k.in.Read(b)
			if n <= 0 || err != nil { // the line editor will find out
				return
			}
			k.ahead = append(k.ahead, b[:n]...)
			if i := bytes.LastIndex(k.ahead, []byte(ctrlC)); i >= 0 {
				k.ahead = k.ahead[i+len(ctrlC):]
				interrupt()
			}
		}
	}()
	return func() {
		one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
		unix.Write(int(k.stop.Fd()), one)
		<-ended
		unix.Read(int(k.stop.Fd()), one)
	}
}

// lines writes what the line editor ends by CR and LF for a terminal that makes that
// out of LF.
type lines struct{ out io.Writer }

func (l lines) Write(b []byte) (int, error) {
	_, err := l.out.Write(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")))
	return len(b), err
}
