package tour

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// process: C1.
func process(_ context.Context, l *Log) (string, error) {
	r, w, err := l.pipe()
	if err != nil {
		return "", err
	}
	goOn, order, err := l.pipe()
	if err != nil {
		return "", err
	}
	root, err := child.PrepareString("/")
	if err != nil {
		return "", err
	}
	pid, err := l.adopt(forkAttributes(goOn, w, root))
	if err != nil {
		return "", err
	}
	l.close(w)
	if _, err := line(r); err != nil {
		return "", err
	}
	l.say("a process, and a child of it that has closed its files and moved to /:")
	if err := l.ps(os.Getpid(), pid); err != nil {
		return "", err
	}
	mine, err := attributes(os.Getpid())
	if err != nil {
		return "", err
	}
	its, err := attributes(pid)
	if err != nil {
		return "", err
	}
	for _, a := range []attribute{mine, its} {
		l.say("pid %d: parent %d, %d open files, in %s", a.pid, a.ppid, a.files, a.dir)
	}
	l.close(order)
	if err := l.waitFor(pid, 0); err != nil {
		return "", err
	}
	if its.pid == mine.pid || its.ppid != mine.pid || its.files != 2 || its.dir != "/" || mine.files <= 2 {
		return "", fmt.Errorf("parent %+v, child %+v", mine, its)
	}
	return "each has a pid of its own, and what the child closed is still open in the parent", nil
}

// attribute is some of what a process has of its own.
type attribute struct {
	pid, ppid, files int
	dir              string
}

func attributes(pid int) (a attribute, err error) {
	proc := fmt.Sprintf("/proc/%d", pid)
	a.pid = pid
	files, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return a, err
	}
	a.files = len(files)
	if a.dir, err = os.Readlink(proc + "/cwd"); err != nil {
		return a, err
	}
	text, err := os.ReadFile(proc + "/status")
	if err != nil {
		return a, err
	}
	a.ppid, err = number(string(text), "PPid:")
	return a, err
}

//go:norace
func forkAttributes(goOn, w int, dir *byte) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.KeepOnly(goOn, w)
		child.Chdir(dir)
		child.WriteString(w, "ready\n")
		waitForEnd(goOn)
		child.Exit(0)
	}
	return pid, err
}

// waitForEnd returns when everybody else has closed the pipe, so also when the
// parent has died. The child must have closed its own copy of the write end.
//
//go:nosplit
//go:norace
func waitForEnd(fd int) {
	var b [1]byte
	child.Read(fd, b[:])
}

// system: C7.
func system(_ context.Context, l *Log) (string, error) {
	run, err := shell("exit 3")
	if err != nil {
		return "", err
	}
	pid, err := l.adopt(forkExec(run, 0))
	if err != nil {
		return "", err
	}
	l.say("system(\"exit 3\"): pid %d", pid)
	if err := l.waitFor(pid, 3); err != nil {
		return "", err
	}
	l.say("it ended with exit code 3")

	// The shell reads its standard input: it runs until the parent closes that.
	if run, err = shell("read line; exit 4"); err != nil {
		return "", err
	}
	input, hold, err := l.pipe()
	if err != nil {
		return "", err
	}
	if pid, err = l.adopt(forkExec(run, input)); err != nil {
		return "", err
	}
	l.say("started \"read line; exit 4\", and going on: pid %d", pid)
	_, ended, err := l.waitNow(pid)
	if err != nil {
		return "", err
	}
	if ended {
		return "", fmt.Errorf("the program ended before its input did")
	}
	l.say("watched: it still runs")
	l.close(hold)
	if err := l.waitFor(pid, 4); err != nil {
		return "", err
	}
	l.say("blocked until it ended, with exit code 4")
	return "the exit codes 3 and 4 came back; a started program was watched, then awaited", nil
}

func shell(script string) (*child.Image, error) {
	return child.PrepareImage("/bin/sh", []string{"sh", "-c", script}, os.Environ())
}

//go:norace
func forkExec(image *child.Image, stdin int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		if stdin != 0 {
			child.Dup3(stdin, 0, 0)
		}
		child.Exec(image)
		child.Exit(127)
	}
	return pid, err
}

// status: C9.
func status(_ context.Context, l *Log) (string, error) {
	pid, err := l.adopt(forkExit(7))
	if err != nil {
		return "", err
	}
	got, err := l.wait(pid)
	if err != nil {
		return "", err
	}
	l.say("child %d calls exit(7): wait says %s", pid, describe(got))
	if !got.Exited() || got.ExitStatus() != 7 {
		return "", fmt.Errorf("wait says %s", describe(got))
	}
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGKILL} {
		if pid, err = l.adopt(forkKilled(sig)); err != nil {
			return "", err
		}
		if got, err = l.wait(pid); err != nil {
			return "", err
		}
		l.say("child %d gets %s: wait says %s", pid, unix.SignalName(sig), describe(got))
		if !got.Signaled() || got.Signal() != sig {
			return "", fmt.Errorf("wait says %s", describe(got))
		}
	}
	return "the exit code 7 and both signals came back", nil
}

//go:norace
func forkExit(code int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.Exit(code)
	}
	return pid, err
}

//go:norace
func forkKilled(sig syscall.Signal) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.Kill(child.Getpid(), sig)
		child.Exit(0)
	}
	return pid, err
}
