//go:build linux

package procstate_test

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"

	"rawfork/internal/forktest"
	"rawfork/procstate"
)

// The main goroutine keeps the main thread: the subject sets what is a thread's
// own, and /proc/PID shows the thread group leader's.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	forktest.Main(m, map[string]func(){"subject": subject, "reader": readerMain})
}

// subject is a process that is read by the tests. It sets an attribute, says
// what system calls tell it of itself, and ends with its standard input.
func subject() {
	err := setups[os.Args[1]]()
	var r report
	if err == nil {
		r.Said, err = ask()
	}
	if err != nil {
		r.Error, r.Forbidden = err.Error(), errors.Is(err, os.ErrPermission)
	}
	if err := gob.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	io.Copy(io.Discard, os.Stdin)
}

type report struct {
	Said      said
	Error     string
	Forbidden bool
}

// start starts a subject and returns what it says and its pid. It is ended and
// reaped when the test ends.
func start(t *testing.T, setup string, args ...string) (int, said) {
	t.Helper()
	cmd := forktest.Command(t, "subject", append([]string{setup}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		forktest.WantExit(t, cmd.Process.Pid, 0)
		out.Close()
		cmd.Process.Release()
	})
	var r report
	if err := gob.NewDecoder(out).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.Forbidden {
		t.Skip(r.Error)
	}
	if r.Error != "" {
		t.Fatal(r.Error)
	}
	return cmd.Process.Pid, r.Said
}

// read reads a state that must be there.
func read(t *testing.T, pid int) *procstate.State {
	t.Helper()
	s, err := procstate.Read(pid)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readerMain reads a process as user nobody and writes what it got.
func readerMain() {
	var pid int
	fmt.Sscan(os.Args[1], &pid)
	s, err := procstate.Read(pid)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(s)
}

// asNobody are the attributes of a process of user nobody.
func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
