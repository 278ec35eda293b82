//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/helper"
	"rawfork/internal/forktest"
	"rawfork/procstate"
)

// On a terminal that is the session's own: Foreground makes the program's process group
// the terminal's foreground one, also when it joins a group; Noctty takes the terminal
// from the program and leaves it to its session. Every method that can does it.
func TestForkExecOnTerminal(t *testing.T) {
	terminal := openTerminal(t)
	r, w := pipe(t)
	cmd := forktest.Command(t, "startOnTerminal", forktest.PauseProgram(t, 1))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, w, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	want := ""
	for _, m := range rawfork.Methods() {
		if cannot(m, &syscall.SysProcAttr{Foreground: true}) {
			want += fmt.Sprintf("%v unsupported Foreground, Noctty\n", m)
			continue
		}
		want += fmt.Sprintf("%v foreground true own group true on the terminal true\n", m)
		want += fmt.Sprintf("%v foreground false own group false on the terminal false\n", m)
	}
	if diff := cmp.Diff(want, output(t, r, w)); diff != "" {
		t.Errorf("what the programs were (-want +got):\n%s", diff)
	}
}

// startOnTerminal leads a session whose terminal is its descriptor 0.
func startOnTerminal() {
	signal.Ignore(syscall.SIGTTOU) // to take the terminal back from a program
	h, err := helper.Start(helper.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	for _, m := range rawfork.Methods() {
		if cannot(m, &syscall.SysProcAttr{Foreground: true}) {
			fmt.Println(m, "unsupported Foreground, Noctty")
			continue
		}
		describeOnTerminal(m, &syscall.SysProcAttr{Foreground: true, Ctty: 0})
		describeOnTerminal(m, &syscall.SysProcAttr{Noctty: true})
	}
}

// describeOnTerminal starts a program and tells what it is.
func describeOnTerminal(m rawfork.Method, sys *syscall.SysProcAttr) {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	pid, err := m.ForkExec(os.Args[1], nil, &syscall.ProcAttr{Files: []uintptr{0, w.Fd()}, Sys: sys})
	w.Close()
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Read(make([]byte, 1)) // it is ready, or its end says that it died
	s, err := procstate.ReadParts(pid, 0)
	foreground, ioctlErr := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	syscall.Kill(pid, syscall.SIGKILL)
	rawfork.Wait(pid)
	if err != nil || ioctlErr != nil {
		fmt.Println(err, ioctlErr)
		return
	}
	fmt.Println(m, "foreground", foreground == s.PGID && s.PGID != syscall.Getpgrp(), "own group", s.PGID == pid, "on the terminal", s.TTY != 0)
	if err := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, syscall.Getpgrp()); err != nil {
		fmt.Println(err)
	}
}
