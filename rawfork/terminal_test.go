//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestTerminal(t *testing.T) {
	for _, test := range []struct {
		name    string
		columns uint16
		env     []string
		colours bool
		width   int
	}{
		{"wide", 200, nil, true, 80},
		{"narrow", 40, nil, true, 40},
		{"NO_COLOR", 80, []string{"NO_COLOR=1"}, false, 80},
		{"dumb", 80, []string{"TERM=dumb"}, false, 80},
		{"COLUMNS", 80, []string{"COLUMNS=50"}, true, 50},
		{"no size", 0, nil, true, 80},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := onTerminal(t, test.columns, test.env, "tour", "zombie")
			if got := colour.MatchString(text); got != test.colours {
				t.Errorf("colours: %v, want %v", got, test.colours)
			}
			widest := 0
			for _, line := range strings.Split(colour.ReplaceAllString(text, ""), "\r\n") {
				if !strings.Contains(line, "exe") { // the long path of this test
					widest = max(widest, utf8.RuneCountInString(line))
				}
			}
			// The text fills its lines to the last word or two.
			if widest > test.width || widest < test.width-15 {
				t.Errorf("the widest line has %d columns, want nearly %d:\n%s", widest, test.width, text)
			}
		})
	}
}

func TestExecOnTerminal(t *testing.T) {
	text := onTerminal(t, 80, nil, "exec", "--", "true")
	if want := "\x1b[1mtrue\x1b[0m: \x1b[32mexit status 0\x1b[0m\r\n"; !strings.HasPrefix(text, want) {
		t.Errorf("got %q, want %q first", text, want)
	}
}

// onTerminal runs the command on a terminal and returns what it wrote.
func onTerminal(t *testing.T, columns uint16, env []string, args ...string) string {
	t.Helper()
	master, slave := openTerminal(t, columns)
	defer master.Close()
	cmd := command(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(cmd.Env, env...)
	err := cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(master) // EIO is the end: nobody has the terminal any more
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, text)
	}
	wantNoOrphans(t)
	return string(text)
}

func openTerminal(t *testing.T, columns uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal("TIOCSPTLCK: ", err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal("TIOCGPTN: ", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal("TIOCSWINSZ: ", err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
