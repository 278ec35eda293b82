//go:build cgo && (amd64 || arm64)

package inherit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/helper"
	"rawfork/internal/program"
	"rawfork/procstate"
)

// patience is how long a child may take until it is ready.
const patience = 30 * time.Second

// readyFD is what a program that was started calls the pipe by which it says so.
const readyFD = 3

func compare(ctx context.Context, ways []Way) (reports []Report, err error) {
	runtime.LockOSThread() // the mask and the pending signal are the thread's
	defer runtime.UnlockOSThread()
	path, err := program.Write(program.Pause(readyFD))
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(filepath.Dir(path))
	heard, ready, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer heard.Close()
	defer ready.Close()
	if slices.ContainsFunc(ways, func(w Way) bool { return !w.bare && w.method == rawfork.ByHelper }) {
		h, err := helper.Start(helper.Options{})
		if err != nil {
			return nil, err
		}
		defer h.Close()
	}
	takeBack, err := prepare()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, takeBack()) }()

	c := comparison{path: path, heard: heard, ready: int(ready.Fd())}
	for _, way := range ways {
		report, err := c.one(ctx, way)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way.Name, err)
		}
		reports = append(reports, report)
	}
	return reports, nil
}

type comparison struct {
	path  string   // the program that is started
	heard *os.File // where a child says that it is ready
	ready int      // the other end
}

func (c *comparison) one(ctx context.Context, way Way) (report Report, err error) {
	parent, err := ownState()
	if err != nil {
		return report, err
	}
	pid, err := c.start(way)
	if err != nil {
		return report, err
	}
	defer func() {
		syscall.Kill(pid, syscall.SIGKILL)
		_, waitErr := rawfork.Wait(pid)
		err = errors.Join(err, waitErr)
	}()
	c.heard.SetReadDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { c.heard.SetReadDeadline(time.Now()) })
	defer stop()
	if _, err := c.heard.Read(make([]byte, 1)); err != nil {
		return report, errors.Join(ctx.Err(), fmt.Errorf("wait until it is ready: %w", err))
	}
	state, err := procstate.Read(pid)
	if err != nil {
		return report, err
	}
	report = Report{Way: way, Fields: fields(parent, state, way.bare)}
	if way.bare {
		after, err := ownState()
		if err != nil {
			return report, err
		}
		report.Fields = append(report.Fields, mappings(parent.Maps, after.Maps, state.Maps)...)
	}
	return report, nil
}

func (c *comparison) start(way Way) (pid int, err error) {
	if way.bare {
		return forkPausing(c.ready)
	}
	return way.method.ForkExec(c.path, []string{"program"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2, uintptr(c.ready)}})
}

// forkPausing forks a child that says that it is ready and waits to be killed.
//
//go:norace
func forkPausing(ready int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 && err == nil {
		// ---- The child. No function that checks its stack from here on. ----
		child.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
		child.WriteString(ready, "r")
		child.Pause()
		child.Exit(1)
	}
	return pid, err
}

// ownState is the state of this process with the signals of this thread, the one that
// forks, in place of those of the thread group leader.
func ownState() (*procstate.State, error) {
	s, err := procstate.Self()
	if err != nil {
		return nil, err
	}
	for _, t := range s.Threads {
		if t.TID == unix.Gettid() {
			s.Blocked, s.Pending = t.Blocked, t.Pending
			s.Nice, s.Policy, s.RTPriority, s.Affinity = t.Nice, t.Policy, t.RTPriority, t.Affinity
		}
	}
	return s, nil
}
