//go:build amd64 || arm64

package shell

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A word of a line. What stands in quotes is text, whatever it looks like.
type word struct {
	text   string
	quoted bool
}

// split takes a line apart at spaces. A word may stand in double quotes, as a string of
// Go. From a word that begins with # on the line is a comment.
func split(line string) ([]word, error) {
	var words []word
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		if line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("%s: a string of Go must end, in quotes, on its line", line)
			}
			content, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", quoted, err)
			}
			words = append(words, word{content, true})
			line = line[len(quoted):]
			continue
		}
		end := strings.IndexAny(line+" ", " \t\r")
		words = append(words, word{text: line[:end]})
		line = line[end:]
	}
}

// values reads the arguments of a command as its parameters say. An optional one that
// isn't there is nil.
func (s *shell) values(c *command, words []word) ([]any, error) {
	usage := strings.TrimSpace("Usage: " + c.name + " " + c.params)
	params := c.parameters()
	var values []any
	for i, p := range params {
		rest := words[min(i, len(words)):]
		if !p.many {
			rest = rest[:min(1, len(rest))]
		}
		switch {
		case len(rest) == 0 && !p.optional:
			return nil, fmt.Errorf("%s is missing. %s", p.kind, usage)
		case len(rest) == 0:
			values = append(values, nil)
		}
		for _, w := range rest {
			value, err := s.value(p.kind, w)
			if err != nil {
				return nil, err
			}
			values = append(values, value)
		}
	}
	if len(words) > len(params) && (len(params) == 0 || !params[len(params)-1].many) {
		return nil, fmt.Errorf("too many arguments. %s", usage)
	}
	return values, nil
}

// value reads one argument; kind is the parameter's name.
func (s *shell) value(kind string, w word) (any, error) {
	switch kind {
	case "PATH", "TEXT", "NAME":
		return w.text, nil
	case "ARG":
		if w.quoted {
			return w.text, nil
		}
	case "WORD":
		return w.text, nil
	case "CHILD":
		return s.child(w.text)
	case "SIGNAL":
		return parseSignal(w.text)
	case "VAR":
		if i := strings.Index(variableNames, w.text); len(w.text) == 1 && i >= 0 {
			return i, nil
		}
		return nil, fmt.Errorf("%q is no variable: they are a to z", w.text)
	case "ACTION":
		if i := slices.Index(actionNames, w.text); i >= 0 {
			return i, nil
		}
		return nil, fmt.Errorf("%q is none of %s", w.text, strings.Join(actionNames, ", "))
	case "DURATION":
		d, err := time.ParseDuration(w.text)
		if err == nil && d <= 0 {
			err = fmt.Errorf("%v is no time to wait", d)
		}
		return d, err
	}
	return parseNumber(w.text)
}

// child reads the number of a child; the program itself is 0 or parent.
func (s *shell) child(text string) (int, error) {
	if text == "parent" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > len(s.probes) {
		return 0, fmt.Errorf("child %s: there is none; fork makes them", text)
	}
	return n, nil
}

func parseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if sig := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("%q is no signal", text)
}

// parseNumber reads an integer as Go writes it, a constant, or several joined by |.
func parseNumber(text string) (int, error) {
	number := 0
	for _, part := range strings.Split(text, "|") {
		n, err := strconv.ParseInt(part, 0, 64)
		if u, uerr := strconv.ParseUint(part, 0, 64); err != nil && uerr == nil { // an address
			n, err = int64(u), nil
		}
		if value, ok := constants[part]; ok {
			n, err = int64(value), nil
		}
		if err != nil {
			return 0, fmt.Errorf("%q is no number, and no constant that is known here", part)
		}
		number |= int(n)
	}
	return number, nil
}

// constants can be written by their names.
var constants = map[string]int{
	"O_RDONLY": unix.O_RDONLY, "O_WRONLY": unix.O_WRONLY, "O_RDWR": unix.O_RDWR, "O_CREAT": unix.O_CREAT,
	"O_EXCL": unix.O_EXCL, "O_TRUNC": unix.O_TRUNC, "O_APPEND": unix.O_APPEND, "O_NONBLOCK": unix.O_NONBLOCK,
	"O_CLOEXEC": unix.O_CLOEXEC,
	"SEEK_SET":  unix.SEEK_SET, "SEEK_CUR": unix.SEEK_CUR, "SEEK_END": unix.SEEK_END,
	"LOCK_SH": unix.LOCK_SH, "LOCK_EX": unix.LOCK_EX, "LOCK_UN": unix.LOCK_UN, "LOCK_NB": unix.LOCK_NB,
	"F_DUPFD": unix.F_DUPFD, "F_GETFD": unix.F_GETFD, "F_SETFD": unix.F_SETFD, "F_GETFL": unix.F_GETFL,
	"F_SETFL": unix.F_SETFL, "F_GETOWN": unix.F_GETOWN, "F_SETOWN": unix.F_SETOWN, "FD_CLOEXEC": unix.FD_CLOEXEC,
	"MAP_SHARED": unix.MAP_SHARED, "MAP_PRIVATE": unix.MAP_PRIVATE,
	"PR_SET_PDEATHSIG": unix.PR_SET_PDEATHSIG, "PR_SET_CHILD_SUBREAPER": unix.PR_SET_CHILD_SUBREAPER,
	"PR_SET_DUMPABLE": unix.PR_SET_DUMPABLE, "PR_GET_DUMPABLE": unix.PR_GET_DUMPABLE,
	"WNOHANG": unix.WNOHANG, "WUNTRACED": unix.WUNTRACED, "WCONTINUED": unix.WCONTINUED,
}

// variables are what load and store work on: a child has a copy at the same address.
var variables [len(variableNames)]int64

const variableNames = "abcdefghijklmnopqrstuvwxyz"
