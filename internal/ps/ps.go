// Package ps says what ps(1) says of a process, read from /proc. A zombie looks
// like this:
//
//	 PID TTY      STAT   TIME COMMAND
//	4711 pts/0    Z+     0:00 [server] <defunct>
package ps

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Header is the line that ps prints above the processes.
const Header = "    PID TTY      STAT   TIME COMMAND"

// Line describes a process in the columns of [Header]: those of "ps x". The
// error of a pid that no process has, not even a dead one that waits to be
// reaped, wraps ESRCH.
func Line(pid int) (string, error) {
	s, err := read(pid)
	if err != nil {
		return "", err
	}
	command, err := s.command()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%7d %-8s %-4s %6s %s", pid, s.terminal(), s.flags(), s.time(), command), nil
}

// State returns the letter that /proc gives for the state of a process: R runs,
// S sleeps, D sleeps and takes no signals, T is stopped, Z has ended and was not
// reaped. Errors are those of [Line].
func State(pid int) (byte, error) {
	s, err := read(pid)
	return s.state, err
}

// Children returns the pids of the children of a process, zombies among them, in
// rising order. There are none for a pid that no process has.
func Children(pid int) ([]int, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("children of process %d: %w", pid, errors.ErrUnsupported)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("children of process %d: %w", pid, err)
	}
	var children []int
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		s, err := read(child)
		if errors.Is(err, syscall.ESRCH) {
			continue // ended since /proc was listed
		}
		if err != nil {
			return nil, err
		}
		if s.ppid == pid {
			children = append(children, child)
		}
	}
	slices.Sort(children)
	return children, nil
}

// stat is what ps takes from /proc/PID/stat.
type stat struct {
	pid                       int
	comm                      string
	state                     byte
	ppid, group, session      int
	terminalNr, terminalGroup int
	userTicks, systemTicks    int
	nice, threads             int
}

// read reads /proc/PID/stat.
func read(pid int) (stat, error) {
	if runtime.GOOS != "linux" {
		return stat{}, fmt.Errorf("process %d: %w", pid, errors.ErrUnsupported)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) {
		err = syscall.ESRCH
	}
	if err != nil {
		return stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	s, err := parse(string(text))
	if err != nil {
		return stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return s, nil
}

// parse takes /proc/PID/stat apart. The name stands in parentheses and may hold
// any character, parentheses too; what follows the last one is plain.
func parse(text string) (s stat, err error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return s, fmt.Errorf("stat without a name: %q", text)
	}
	// fields[0] is what proc(5) numbers as the third.
	fields := strings.Fields(text[end+1:])
	if len(fields) < 18 || len(fields[0]) != 1 {
		return s, fmt.Errorf("stat too short: %q", text)
	}
	s.comm, s.state = text[open+1:end], fields[0][0]
	for _, field := range []struct {
		into *int
		text string
	}{
		{&s.pid, strings.TrimSpace(text[:open])},
		{&s.ppid, fields[1]}, {&s.group, fields[2]}, {&s.session, fields[3]},
		{&s.terminalNr, fields[4]}, {&s.terminalGroup, fields[5]},
		{&s.userTicks, fields[11]}, {&s.systemTicks, fields[12]},
		{&s.nice, fields[16]}, {&s.threads, fields[17]},
	} {
		if *field.into, err = strconv.Atoi(field.text); err != nil {
			return s, fmt.Errorf("stat: %w", err)
		}
	}
	return s, nil
}

// terminal is the TTY column: ? for a process without one.
func (s stat) terminal() string {
	major, minor := s.terminalNr>>8&0xfff, s.terminalNr>>12&0xfff00|s.terminalNr&0xff
	switch {
	case s.terminalNr == 0:
		return "?"
	case major >= 136 && major <= 143: // each has 256 of the pseudo-terminals
		return fmt.Sprintf("pts/%d", (major-136)<<8|minor)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	}
	return fmt.Sprintf("%d:%d", major, minor)
}

// flags is the STAT column: the state, then < or N for a raised or lowered
// priority, s for the leader of a session, l for more than one thread, + for the
// terminal's foreground.
func (s stat) flags() string {
	flags := string(s.state)
	for _, flag := range []struct {
		is     bool
		letter string
	}{
		{s.nice < 0, "<"}, {s.nice > 0, "N"},
		{s.session == s.pid, "s"}, {s.threads > 1, "l"}, {s.group == s.terminalGroup, "+"},
	} {
		if flag.is {
			flags += flag.letter
		}
	}
	return flags
}

// time is the TIME column: minutes and seconds of processor time.
func (s stat) time() string {
	const ticks = 100 // USER_HZ, in which /proc counts on every architecture of Go
	seconds := (s.userTicks + s.systemTicks) / ticks
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// command is the COMMAND column: the arguments, or the name in brackets where
// there are none, as for a zombie, which has no memory any more.
func (s stat) command() (string, error) {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.pid))
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
		return "", fmt.Errorf("process %d: %w", s.pid, err)
	}
	text := string(bytes.ReplaceAll(bytes.TrimRight(args, "\x00"), []byte{0}, []byte{' '}))
	if text == "" || s.state == 'Z' {
		text = "[" + s.comm + "]"
	}
	if s.state == 'Z' {
		text += " <defunct>"
	}
	printable := func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}
	return strings.Map(printable, text), nil
}
