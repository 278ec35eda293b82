package tour

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/ps"
)

// A Log takes what a step shows, and keeps the step's children and descriptors,
// so that none is left, however the step ends.
type Log struct {
	ctx  context.Context
	show func(Line)
	stop func() bool // of the watch on ctx

	mu       sync.Mutex
	children map[int]bool // not reaped yet
	fds      map[int]bool // not closed yet
}

func newLog(ctx context.Context, show func(Line)) *Log {
	l := &Log{ctx: ctx, show: show, children: map[int]bool{}, fds: map[int]bool{}}
	// The end of the children is the end of everything that waits for them.
	l.stop = context.AfterFunc(ctx, l.killAll)
	return l
}

func (l *Log) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.show(Line{Say, fmt.Sprintf(format, args...)})
}

// ps shows the processes as ps does.
func (l *Log) ps(pids ...int) error {
	lines := []string{ps.Header}
	for _, pid := range pids {
		line, err := ps.Line(pid)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range lines {
		l.show(Line{Ps, line})
	}
	return nil
}

// adopt takes over the child that a fork made, until wait has reaped it.
func (l *Log) adopt(pid int, err error) (int, error) {
	if err != nil {
		return pid, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.children[pid] = true
	if l.ctx.Err() != nil { // killAll has been, or will find it
		syscall.Kill(pid, syscall.SIGKILL)
	}
	return pid, nil
}

// ended waits until the child has ended, and leaves it as a zombie.
func (l *Log) ended(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("waitid", err)
		}
	}
}

// wait reaps the child. It is reaped under the lock, so that killAll never kills
// another process that has got its pid.
func (l *Log) wait(pid int) (syscall.WaitStatus, error) {
	if err := l.ended(pid); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.children, pid)
	return rawfork.Wait(pid)
}

// waitNow reaps the child if it has ended.
func (l *Log) waitNow(pid int) (status syscall.WaitStatus, ended bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	if err != nil {
		return 0, false, os.NewSyscallError("wait4", err)
	}
	if got == pid {
		delete(l.children, pid)
	}
	return status, got == pid, nil
}

// waitFor reaps the child, and gives an error unless it exited with code.
func (l *Log) waitFor(pid, code int) error {
	status, err := l.wait(pid)
	if err == nil && (!status.Exited() || status.ExitStatus() != code) {
		err = fmt.Errorf("child %d: %s, not exit status %d", pid, describe(status), code)
	}
	return err
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// pipe makes a pipe that cleanUp closes.
func (l *Log) pipe() (r, w int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, os.NewSyscallError("pipe2", err)
	}
	l.own(p[0], p[1])
	return p[0], p[1], nil
}

// socketpair makes two connected stream sockets that cleanUp closes.
func (l *Log) socketpair() (a, b int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	l.own(p[0], p[1])
	return p[0], p[1], nil
}

// own has cleanUp close the descriptors.
func (l *Log) own(fds ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, fd := range fds {
		l.fds[fd] = true
	}
}

func (l *Log) close(fds ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, fd := range fds {
		delete(l.fds, fd)
		unix.Close(fd)
	}
}

// lines shows what the step's processes write into the pipe, line by line as it
// comes, until all of them have closed it.
func (l *Log) lines(fd int) ([]string, error) {
	var lines []string
	scanner := bufio.NewScanner(reader(fd))
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
		l.mu.Lock()
		l.show(Line{Out, scanner.Text()})
		l.mu.Unlock()
	}
	return lines, scanner.Err()
}

// line reads one line, without showing it.
func line(fd int) (string, error) {
	var text strings.Builder
	var b [1]byte
	for {
		n, err := reader(fd).Read(b[:])
		if err != nil || n == 0 {
			return text.String(), fmt.Errorf("%q is no whole line: the process ended", text.String())
		}
		if b[0] == '\n' {
			return text.String(), nil
		}
		text.WriteByte(b[0])
	}
}

// reader reads a descriptor, without owning it.
type reader int

func (fd reader) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (l *Log) killAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for pid := range l.children {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// cleanUp ends and reaps what a step has left, and closes its descriptors.
func (l *Log) cleanUp() {
	l.stop()
	l.killAll()
	for pid := range l.children {
		l.wait(pid)
	}
	for fd := range l.fds {
		l.close(fd)
	}
}
