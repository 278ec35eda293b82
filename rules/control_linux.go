//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"rawfork/internal/watchdog"
	"rawfork/rules/internal/plainfork"
)

// control is what a child of a plain fork does once it is back in Go.
type control struct {
	name string
	run  func()
}

// The actions of the control's children. Each does what looks harmless.
var controlActions = []control{
	{"_exit", func() {}},
	{"print", func() { fmt.Println("hello from the child") }},
	{"syscall.Exec", func() { syscall.Exec("/bin/true", []string{"true"}, nil) }},
	{"os/exec", func() { exec.Command("/bin/true").Run() }},
	{"collect garbage", runtime.GC},
	{"goroutine and channel", func() {
		c := make(chan bool)
		go func() { c <- true }()
		<-c
	}},
}

// startControl forks n children for each action that come back to Go, and watches
// all at once, since some take the whole of the watchdog's time. What it returns
// waits for the outcomes, in the order of the actions, and must be called.
func startControl(ctx context.Context, n int) (func() ([][]outcome, error), error) {
	if n == 0 {
		return func() ([][]outcome, error) { return nil, nil }, nil
	}
	sink, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer sink.Close()
	fd := int(sink.Fd())

	outcomes := make([][]outcome, len(controlActions))
	errs := make([]error, len(controlActions)*n)
	var group sync.WaitGroup
	for i, action := range controlActions {
		outcomes[i] = make([]outcome, n)
		for j := range n {
			pid := plainfork.Fork(fd)
			if pid == 0 {
				action.run()
				syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
			}
			group.Go(func() { outcomes[i][j], errs[i*n+j] = awaitControl(ctx, pid) })
		}
	}
	return func() ([][]outcome, error) {
		group.Wait()
		return outcomes, errors.Join(errs...)
	}, nil
}

func awaitControl(ctx context.Context, pid int) (outcome, error) {
	if pid < 0 {
		return outcome{}, os.NewSyscallError("fork", syscall.Errno(-pid))
	}
	status, hung, err := watchdog.WaitInKernel(ctx, pid, controlLimit)
	reapGroup(pid)
	switch {
	case err != nil:
		return outcome{}, err
	case hung != "":
		return outcome{hung: hung}, nil
	case !status.Exited() || status.ExitStatus() != 0:
		return outcome{wrong: fmt.Sprintf("wait status %#x", uint32(status))}, nil
	}
	return outcome{}, nil
}

// reapGroup reaps what a child that the watchdog killed had started, where it comes
// to this process because that is a subreaper. The group has been killed with it.
func reapGroup(pgid int) {
	for {
		if _, err := syscall.Wait4(-pgid, nil, 0, nil); err != nil && err != syscall.EINTR {
			return // ECHILD
		}
	}
}
