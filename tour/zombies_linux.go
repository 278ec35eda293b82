package tour

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/ps"
	"rawfork/internal/rawcall"
)

// zombie: C10.
func zombie(_ context.Context, l *Log) (string, error) {
	pid, err := l.adopt(forkExit(0))
	if err != nil {
		return "", err
	}
	if err := l.ended(pid); err != nil {
		return "", err
	}
	l.say("child %d has ended, nobody has waited for it:", pid)
	if err := l.ps(pid); err != nil {
		return "", err
	}
	state, err := ps.State(pid)
	if err != nil {
		return "", err
	}
	text, err := ps.Line(pid)
	if err != nil {
		return "", err
	}
	if err := l.waitFor(pid, 0); err != nil {
		return "", err
	}
	l.say("the parent has waited:")
	if _, err := ps.State(pid); err == nil {
		return "", fmt.Errorf("child %d is there after the wait", pid)
	}
	if err := l.ps(); err != nil {
		return "", err
	}
	if state != 'Z' || !strings.Contains(text, "<defunct>") {
		return "", fmt.Errorf("state %c: %s", state, text)
	}
	return "state Z and <defunct> until the wait, then nothing", nil
}

// reap: C11.
func reap(_ context.Context, l *Log) (string, error) {
	const children, nap = 5, time.Second
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)

	var pids []int
	for i := range children {
		// Some end at different times, the last three all at once.
		pid, err := l.adopt(forkNap(time.Duration(min(i, 2)+1) * nap / 10))
		if err != nil {
			return "", err
		}
		pids = append(pids, pid)
	}
	done := make(chan handled, 1)
	go func() { done <- handleSignals(l, signals, slices.Clone(pids)) }()
	start := time.Now()
	select {
	case <-time.After(nap):
	case <-l.ctx.Done(): // Ctrl-C: not a signal that the sleep outlasts
	}
	slept := time.Since(start)
	h := <-done
	if h.err != nil {
		return "", h.err
	}
	l.say("slept %.2f s of %.2f s, while SIGCHLD was handled %d times", slept.Seconds(), nap.Seconds(), h.signals)
	left, err := ps.Children(os.Getpid())
	if err != nil {
		return "", err
	}
	for _, pid := range pids {
		if slices.Contains(left, pid) {
			return "", fmt.Errorf("child %d is left", pid)
		}
	}
	if slept < nap || h.signals > children {
		return "", fmt.Errorf("slept %v of %v, %d signals for %d children", slept, nap, h.signals, children)
	}
	return fmt.Sprintf("%d children reaped by %d signals, none is left, and the sleep was not cut short", children, h.signals), nil
}

// handled is what a handler of SIGCHLD did.
type handled struct {
	signals int
	err     error
}

// handleSignals handles SIGCHLD until all of pids are reaped. It asks for each child by
// its pid, where the textbook takes any: waitpid(-1) would also take the statuses
// of children that others in the process wait for.
func handleSignals(l *Log, signals <-chan os.Signal, pids []int) (h handled) {
	for len(pids) > 0 {
		select {
		case <-signals:
			h.signals++
		case <-l.ctx.Done():
			return handled{err: l.ctx.Err()}
		}
		var err error
		if pids, err = reapEnded(l, pids); err != nil {
			return handled{err: err}
		}
	}
	return h
}

// reapEnded reaps those of pids that have ended, and returns the others.
func reapEnded(l *Log, pids []int) (left []int, err error) {
	for _, pid := range pids {
		status, ended, err := l.waitNow(pid)
		switch {
		case err != nil:
			return nil, err
		case ended:
			l.say("reaped %d: %s", pid, describe(status))
		default:
			left = append(left, pid)
		}
	}
	return left, nil
}

//go:norace
func forkNap(d time.Duration) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.Sleep(d)
		child.Exit(0)
	}
	return pid, err
}

// poll: C12.
func poll(_ context.Context, l *Log) (string, error) {
	const rounds = 3
	var waiting, zombies []int
	for round := 1; round <= rounds; round++ {
		// A request comes in: two children serve it.
		for range 2 {
			pid, err := l.adopt(forkExit(0))
			if err != nil {
				return "", err
			}
			if err := l.ended(pid); err != nil {
				return "", err
			}
			if state, err := ps.State(pid); err != nil || state != 'Z' {
				return "", fmt.Errorf("child %d: state %c, %v, not Z", pid, state, err)
			}
			waiting, zombies = append(waiting, pid), append(zombies, pid)
		}
		l.say("round %d of the server's loop: %d zombies", round, len(waiting))
		var err error
		if waiting, err = reapEnded(l, waiting); err != nil {
			return "", err
		}
		if len(waiting) > 0 {
			return "", fmt.Errorf("%v have ended and were not reaped", waiting)
		}
	}
	for _, pid := range zombies {
		if _, err := ps.State(pid); err == nil {
			return "", fmt.Errorf("process %d is left", pid)
		}
	}
	return fmt.Sprintf("%d zombies reaped in %d rounds of the loop, none is left", len(zombies), rounds), nil
}

// orphan: C13.
func orphan(_ context.Context, l *Log) (string, error) {
	outer, err := ancestors()
	if err != nil {
		return "", err
	}
	first, err := makeOrphan(l)
	if err != nil {
		return "", err
	}
	l.say("the parent %d has ended: its child %d now has the parent %d", first.parent, first.pid, first.adopter)
	if !slices.Contains(outer, first.adopter) {
		return "", fmt.Errorf("%d is no ancestor of %d: %v", first.adopter, os.Getpid(), outer)
	}
	// Usually init or a session manager. As pid 1 of a container it is this
	// process, and reaps.
	if first.adopter == os.Getpid() {
		if err := endOrphan(l, first); err != nil {
			return "", err
		}
	}

	var before int32
	if err := rawcall.Prctl(unix.PR_GET_CHILD_SUBREAPER, unsafe.Pointer(&before)); err != nil {
		return "", os.NewSyscallError("prctl", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return "", os.NewSyscallError("prctl", err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, uintptr(before), 0, 0, 0)
	l.say("pid %d makes itself a subreaper (prctl)", os.Getpid())
	second, err := makeOrphan(l)
	if err != nil {
		return "", err
	}
	l.say("the parent %d has ended: its child %d now has the parent %d", second.parent, second.pid, second.adopter)
	if second.adopter != os.Getpid() {
		return "", fmt.Errorf("the orphan went to %d, not to the subreaper %d", second.adopter, os.Getpid())
	}
	if err := endOrphan(l, second); err != nil {
		return "", err
	}
	l.say("the subreaper has reaped %d", second.pid)
	if _, err := ps.State(second.pid); err == nil {
		return "", fmt.Errorf("process %d is left", second.pid)
	}
	return fmt.Sprintf("the first orphan went to %s, the second to the subreaper, which reaped it", whoIs(first.adopter)), nil
}

// orphaned is a process that lost its parent. It ends when order is closed.
type orphaned struct{ parent, pid, adopter, order int }

// makeOrphan has a child fork a grandchild and end.
func makeOrphan(l *Log) (o orphaned, err error) {
	r, w, err := l.pipe()
	if err != nil {
		return o, err
	}
	goOn, order, err := l.pipe()
	if err != nil {
		return o, err
	}
	if o.parent, err = l.adopt(forkOrphan(goOn, w)); err != nil {
		return o, err
	}
	l.close(w)
	o.order = order
	text, err := line(r)
	if err != nil {
		return o, err
	}
	if o.pid, err = number(text, "pid"); err != nil {
		return o, err
	}
	// Reaped, the parent is gone for good, and its child has been given away.
	if err := l.waitFor(o.parent, 0); err != nil {
		return o, err
	}
	a, err := attributes(o.pid)
	o.adopter = a.ppid
	if err == nil {
		err = l.ps(o.pid)
	}
	return o, err
}

func endOrphan(l *Log, o orphaned) error {
	l.close(o.order)
	if _, err := l.adopt(o.pid, nil); err != nil {
		return err
	}
	return l.waitFor(o.pid, 0)
}

//go:norace
func forkOrphan(goOn, w int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.KeepOnly(goOn, w)
		if grandchild, errno := child.Fork(); grandchild != 0 {
			child.Exit(int(errno))
		}
		var line child.Line
		line.Text("pid ").Int(child.Getpid()).Text("\n").Write(w)
		waitForEnd(goOn)
		child.Exit(0)
	}
	return pid, err
}

// ancestors are the pids of this process, its parent, and so on up to pid 1, or
// to 0, which stands for a process outside of this pid namespace.
func ancestors() ([]int, error) {
	var pids []int
	for pid := os.Getpid(); ; {
		pids = append(pids, pid)
		if pid <= 1 {
			return pids, nil
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return nil, err
		}
		if pid, err = number(string(text), "PPid:"); err != nil {
			return nil, err
		}
	}
}

func whoIs(pid int) string {
	switch name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); {
	case pid == 1:
		return "init (pid 1)"
	case err != nil:
		return fmt.Sprintf("pid %d", pid)
	default:
		return fmt.Sprintf("the subreaper %s (pid %d)", strings.TrimSpace(string(name)), pid)
	}
}
