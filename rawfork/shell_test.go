//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/internal/forktest"
)

func TestShellScript(t *testing.T) {
	for _, test := range []struct {
		script         string
		code           int
		stdout, stderr string
	}{
		{"timeout 30s\nstore x 4\nfork\nchild 1 load x\n", 0, "child 1: pid PID\n4\n", ""},
		{"timeout 30s\nfork\nclose 12345\nps", 1, "child 1: pid PID\n", "rawfork: shell: line 3: parent: close: EBADF: bad file descriptor\n"},
	} {
		cmd := command(t, "shell")
		cmd.Stdin = strings.NewReader(test.script)
		code, stdout, stderr := run(t, cmd)
		var pid int
		fmt.Sscanf(stdout, "child 1: pid %d", &pid)
		stdout = strings.Replace(stdout, fmt.Sprint(pid), "PID", 1)
		if code != test.code || stdout != test.stdout || stderr != test.stderr {
			t.Errorf("%q: exit status %d, %q, %q, want %d, %q, %q", test.script, code, stdout, stderr,
				test.code, test.stdout, test.stderr)
		}
	}
}

// A terminalShell is a shell on a terminal.
type terminalShell struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	slave  *os.File
	shown  string // all that was shown and not looked for yet
}

func startShell(t *testing.T, columns uint16) *terminalShell {
	t.Helper()
	master, slave := openTerminal(t, columns)
	cmd := command(t, "shell")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &terminalShell{t: t, cmd: cmd, master: master, slave: slave}
	t.Cleanup(func() {
		master.Close()
		slave.Close()
	})
	s.wait("parent> ")
	s.press("timeout 30s\r")
	s.wait("parent> ")
	return s
}

// press types keys.
func (s *terminalShell) press(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// wait reads until the text is shown, and returns what was shown before it.
func (s *terminalShell) wait(text string) (before string) {
	s.t.Helper()
	b := make([]byte, 1000)
	deadline := time.Now().Add(2 * forktest.Watchdog)
	for {
		before, after, found := strings.Cut(s.shown, text)
		if found {
			s.shown = after
			return before
		}
		fds := []unix.PollFd{{Fd: int32(s.master.Fd()), Events: unix.POLLIN}}
		ready, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if ready <= 0 {
			s.cmd.Process.Kill()
			s.cmd.Wait()
			s.t.Fatalf("%q is not shown (%v), but %q", text, err, s.shown)
		}
		n, err := s.master.Read(b)
		if err != nil {
			s.t.Fatalf("%q is not shown (%v), but %q", text, err, s.shown)
		}
		s.shown += string(b[:n])
	}
}

// end waits for the end of the shell, which leaves no process behind and the terminal
// as it was before.
func (s *terminalShell) end(code int) {
	s.t.Helper()
	s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.t.Errorf("exit status %d, want %d; shown last: %q", got, code, s.shown)
	}
	wantNoOrphans(s.t)
	mode, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	if mode.Lflag&unix.ICANON == 0 || mode.Lflag&unix.ECHO == 0 {
		s.t.Error("the terminal was left raw")
	}
}

func TestShellOnTerminal(t *testing.T) {
	s := startShell(t, 80)
	s.press("for\t\r") // completed
	s.wait("child 1: pid ")
	s.wait("parent> ")
	s.press("child 1\r")
	s.wait("child 1> ")
	s.press("close 12345\r") // an error doesn't end it
	s.wait("child 1: close: EBADF: bad file descriptor")
	s.wait("child 1> ")
	s.press("umask 077\r")
	s.wait("child 1> ")
	s.press("\x1b[A\r") // the arrow up: again
	s.wait("\n63\r\n")
	s.press("getp\t\t") // what is possible
	s.wait("getpgid getpid getppid")
	s.press("\x03umask 0\r") // Ctrl-C drops the line
	s.wait("\n63\r\n")
	s.wait("child 1> ")
	s.press("\x04") // Ctrl-D
	s.end(0)
}

// Ctrl-C cuts off a call that blocks, and says what came of it. What is typed behind it
// is the next line.
func TestShellCutsOffCalls(t *testing.T) {
	s := startShell(t, 80)
	cut := func(line, want string) {
		t.Helper()
		s.press(line + "\r")
		s.wait(line + "\r\n") // it is a command from here on
		s.press("dropped\x03getpid\r")
		s.wait(want)
		s.wait("parent> getpid\r\n")
		s.wait(fmt.Sprintf("%d\r\n", s.cmd.Process.Pid))
		s.wait("parent> ")
	}
	for range 3 {
		s.press("fork\r")
		s.wait("parent> ")
	}
	s.press("child 1 sigaction INT default\r") // who started this may have it ignored
	s.wait("parent> ")
	s.press("child 2 sigaction INT count\r")
	s.wait("parent> ")
	s.press("child 3 sigaction INT ignore\r")
	s.wait("parent> ")
	cut("pause", "parent: pause: Ctrl-C: EINTR: interrupted system call")
	cut("wait 1", "wait: Ctrl-C: the child lives on")
	cut("child 1 pause", "was killed by signal 2, interrupt")
	cut("child 2 pause", "child 2: pause: Ctrl-C: EINTR: interrupted system call")
	s.press("timeout 10s\r") // a fifth of it for those that ignore SIGINT
	s.wait("parent> ")
	cut("child 3 pause", "was killed by signal 9, killed")
	s.press("child 2 getppid\r") // it lives
	s.wait(fmt.Sprintf("\n%d\r\n", s.cmd.Process.Pid))
	s.press("quit\r")
	s.end(0)
}

// A child that reads from the terminal gets its keys.
func TestShellLeavesKeysToChild(t *testing.T) {
	s := startShell(t, 80)
	s.press("fork\r")
	s.wait("parent> ")
	s.press("child 1 read 0 1\r")
	s.wait("read 0 1\r\n")
	s.press("x")
	s.wait(`1 "x"`)
	s.press("quit\r")
	s.end(0)
}

// In a narrow terminal a long line goes on below, and is one line all the same. It may
// change its size.
func TestShellOnNarrowTerminal(t *testing.T) {
	s := startShell(t, 20)
	s.press("store x 1234567890123456789\r")
	s.wait("parent> ")
	s.press("load x\r")
	s.wait("\n1234567890123456789\r\n")
	s.wait("parent> ")
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 40}); err != nil {
		t.Fatal(err)
	}
	s.press("quit\r")
	s.end(0)
}

// A signal ends the shell and its children, and gives the terminal back.
func TestShellEndsBySignal(t *testing.T) {
	s := startShell(t, 80)
	s.press("fork\r")
	s.wait("child 1: pid ")
	s.wait("parent> ")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.end(128 + int(syscall.SIGTERM))
}
