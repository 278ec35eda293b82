//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// started is a running command.
type started struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	pipe   io.Closer
	stderr bytes.Buffer
}

func start(t *testing.T, cmd *exec.Cmd) *started {
	t.Helper()
	s := &started{cmd: cmd}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdout, s.pipe = bufio.NewReader(pipe), pipe
	if cmd.Stderr == nil {
		cmd.Stderr = &s.stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// until reads what the command writes, up to a line that has text in it.
func (s *started) until(t *testing.T, text string) {
	t.Helper()
	for {
		line, err := s.stdout.ReadString('\n')
		if err != nil {
			s.cmd.Wait()
			t.Fatalf("no line with %q: %v, stderr %q", text, err, s.stderr.String())
		}
		if strings.Contains(line, text) {
			return
		}
	}
}

// end waits for the end of the command, which leaves no process behind.
func (s *started) end(t *testing.T, code int, stderr string) {
	t.Helper()
	io.Copy(io.Discard, s.stdout)
	s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != code || !regexp.MustCompile(stderr).MatchString(s.stderr.String()) {
		t.Errorf("%v, stderr %q, want exit status %d, stderr %s", s.cmd.ProcessState, s.stderr.String(), code, stderr)
	}
	wantNoOrphans(t)
}

func TestTourInterrupted(t *testing.T) {
	for _, test := range []struct {
		name  string
		sig   syscall.Signal
		group bool // as Ctrl-C on a terminal: the children get it too
		code  int
		text  string
	}{
		{"SIGINT", unix.SIGINT, false, 130, `^rawfork: tour: interrupt\n$`},
		{"Ctrl-C", unix.SIGINT, true, 130, `^rawfork: tour: interrupt\n$`},
		{"SIGTERM", unix.SIGTERM, false, 143, `^rawfork: tour: terminated\n$`},
		{"SIGHUP", unix.SIGHUP, true, 129, `^rawfork: tour: hangup\n$`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, command(t, "tour"))
			s.until(t, "> the child, pid") // it lives for another second
			pid := s.cmd.Process.Pid
			if test.group {
				pid = -pid
			}
			if err := unix.Kill(pid, test.sig); err != nil {
				t.Fatal(err)
			}
			s.end(t, test.code, test.text)
		})
	}
}

// A tour that nobody reads any more ends, without a word, as by SIGPIPE.
func TestTourUnread(t *testing.T) {
	s := start(t, command(t, "tour"))
	s.until(t, "C5")
	s.pipe.Close()
	s.end(t, 141, `^$`)
}

// Output that can't be written is an error that says why.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{
		{"tour", "C5"}, {"rules", "--run", "umask"}, {"caveats", "--run", "mutex-held", "-n", "1"}, {"diff"}, {"diff", "--json"},
		{"serve", "-l", "127.0.0.1:0"},
	} {
		cmd := command(t, args...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		err := cmd.Run()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%q: %v, %s, want exit status 1 and no space left on device", args, err, stderr.String())
		}
	}
}

// Ctrl-C is the program's: rawfork reports what became of it. The runs that were
// still to come are left out.
func TestExecInterrupted(t *testing.T) {
	for _, test := range []struct {
		name, runs, script, report string
		code                       int
	}{
		{"killed", "3", "echo ready; read line", `^sh .*: killed by SIGINT \(interrupt\)\n`, 130},
		{"caught", "1", "trap 'exit 6' INT; echo ready; read line", `^sh .*: exit status 6\n`, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := command(t, "exec", "-n", test.runs, "--", "sh", "-c", test.script)
			input, err := cmd.StdinPipe() // not closed before the end: the program waits
			if err != nil {
				t.Fatal(err)
			}
			defer input.Close()
			s := start(t, cmd)
			s.until(t, "ready")
			if err := unix.Kill(-s.cmd.Process.Pid, unix.SIGINT); err != nil {
				t.Fatal(err)
			}
			s.end(t, test.code, test.report)
		})
	}
}

// An interrupt that is ignored, as by nohup-like starters, stays so in the program.
func TestExecIgnoredInterrupt(t *testing.T) {
	cmd := command(t, "exec", "--", "sh", "-c", "kill -INT $$; exit 3")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("/bin/sh", append([]string{"-c", `trap "" INT; exec "$0" "$@"`, self}, cmd.Args[1:]...)...)
	shell.Env = cmd.Env
	if code, _, stderr := run(t, shell); code != 3 {
		t.Errorf("exit status %d, want 3: %s", code, stderr)
	}
}
