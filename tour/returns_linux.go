package tour

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"rawfork"
	"rawfork/child"
)

// twice: C2.
func twice(_ context.Context, l *Log) (string, error) {
	r, w, err := l.pipe()
	if err != nil {
		return "", err
	}
	l.say("pid %d calls fork once", os.Getpid())
	pid, err := l.adopt(forkTwice(w))
	if err != nil {
		return "", err
	}
	l.close(w)
	l.say("in the parent fork returned %d", pid)
	lines, err := l.lines(r)
	if err != nil {
		return "", err
	}
	if err := l.waitFor(pid, 0); err != nil {
		return "", err
	}
	want := fmt.Sprintf("in the child fork returned 0; my pid is %d, my parent's %d", pid, os.Getpid())
	if !slices.Equal(lines, []string{want}) {
		return "", fmt.Errorf("the child wrote %q, not %q", lines, want)
	}
	return "one call, two returns: the child's own pid is what fork returned in the parent", nil
}

//go:norace
func forkTwice(w int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		var line child.Line
		line.Text("in the child fork returned ").Int(pid).
			Text("; my pid is ").Int(child.Getpid()).
			Text(", my parent's ").Int(child.Getppid()).Text("\n").Write(w)
		child.Exit(0)
	}
	return pid, err
}

// dothefork: C4.
func dothefork(_ context.Context, l *Log) (string, error) {
	a, b, err := l.socketpair()
	if err != nil {
		return "", err
	}
	pid, err := l.adopt(serverAndClient(a, b))
	if err != nil {
		return "", err
	}
	l.close(b)
	request, err := line(a)
	if err != nil {
		return "", err
	}
	l.say("dothefork() returned %d: I am the server, pid %d", pid, os.Getpid())
	l.say("the client says: %s", request)
	if err := l.waitFor(pid, 0); err != nil {
		return "", err
	}
	if want := fmt.Sprintf("dothefork() returned 0: I am the client, pid %d", pid); request != want {
		return "", fmt.Errorf("the client said %q, not %q", request, want)
	}
	return "one call of dothefork() made both the server and its client", nil
}

//go:norace
func serverAndClient(server, client int) (pid int, err error) {
	pid, err = doTheFork()
	if pid == 0 {
		child.Close(server)
		var line child.Line
		line.Text("dothefork() returned 0: I am the client, pid ").Int(child.Getpid()).Text("\n").Write(client)
		child.Exit(0)
	}
	return pid, err
}

// doTheFork must stay a function of its own: what is shown is that it returns
// twice, through a frame that the child has as a copy.
//
//go:noinline
//go:norace
func doTheFork() (pid int, err error) { return rawfork.Fork() }

// firstfork: C5.
func firstfork(_ context.Context, l *Log) (string, error) {
	const last = "a second later, this line comes from each"
	r, w, err := l.pipe()
	if err != nil {
		return "", err
	}
	l.say("before the fork there is one process, pid %d", os.Getpid())
	pid, err := l.adopt(forkFirst(w))
	if err != nil {
		return "", err
	}
	// The parent writes into the same stream as its child.
	child.WriteString(w, fmt.Sprintf("the parent, pid %d, has the child %d\n", os.Getpid(), pid))
	time.AfterFunc(time.Second, func() {
		child.WriteString(w, last+"\n")
		l.close(w)
	})
	lines, err := l.lines(r)
	if err != nil {
		return "", err
	}
	if err := l.waitFor(pid, 0); err != nil {
		return "", err
	}
	want := []string{
		last, last,
		fmt.Sprintf("the child, pid %d, has the parent %d", pid, os.Getpid()),
		fmt.Sprintf("the parent, pid %d, has the child %d", os.Getpid(), pid),
	}
	slices.Sort(lines)
	if !slices.Equal(lines, want) {
		return "", fmt.Errorf("the lines are %q, not %q", lines, want)
	}
	return "one line from each, then the same last line twice", nil
}

//go:norace
func forkFirst(w int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		var line child.Line
		line.Text("the child, pid ").Int(child.Getpid()).
			Text(", has the parent ").Int(child.Getppid()).Text("\n").Write(w)
		child.Sleep(time.Second)
		child.WriteString(w, "a second later, this line comes from each\n")
		child.Exit(0)
	}
	return pid, err
}

// variable is at the same address in both processes of the step memory.
var variable int

// memory: C6.
func memory(_ context.Context, l *Log) (string, error) {
	r, w, err := l.pipe()
	if err != nil {
		return "", err
	}
	variable = 1
	l.say("before the fork: x = %d, at %p", variable, &variable)
	pid, err := l.adopt(forkMemory(w))
	if err != nil {
		return "", err
	}
	l.close(w)
	lines, err := l.lines(r)
	if err != nil {
		return "", err
	}
	if err := l.waitFor(pid, 0); err != nil {
		return "", err
	}
	l.say("the parent still has x = %d, at %p", variable, &variable)
	if got := strings.Join(lines, ""); got != "the child sets x = 2" || variable != 1 {
		return "", fmt.Errorf("%q, and the parent has %d", got, variable)
	}
	return "x is 2 in the child and 1 in the parent: two memories behind one address", nil
}

//go:norace
func forkMemory(w int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		variable = 2
		var line child.Line
		line.Text("the child sets x = ").Int(variable).Text("\n").Write(w)
		child.Exit(0)
	}
	return pid, err
}
