package tour

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/ps"
)

// nobody is the user that the limit is tried as, where root is exempt from it.
const nobody = 65534

// forkErrors: C18.
//
// The server is a child: the limit would also keep this process from starting
// threads. As a child that forks it is single-threaded.
func forkErrors(_ context.Context, l *Log) (string, error) {
	r, w, err := l.pipe()
	if err != nil {
		return "", err
	}
	goOn, order, err := l.pipe()
	if err != nil {
		return "", err
	}
	pid, err := l.adopt(forkLimited(goOn, w))
	if err != nil {
		return "", err
	}
	l.close(w)
	var lines []string
	for len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "done") {
		text, err := line(r)
		if err != nil {
			return "", err
		}
		lines = append(lines, text)
		l.mu.Lock()
		l.show(Line{Out, text})
		l.mu.Unlock()
		if strings.HasPrefix(text, "limit:") {
			return "", skipped{"no limit on processes can be set here: " + text}
		}
	}
	if err := l.ps(pid); err != nil {
		return "", err
	}
	left, err := ps.Children(pid)
	if err != nil {
		return "", err
	}
	l.close(order)
	if err := l.waitFor(pid, 0); err != nil {
		return "", err
	}
	want := []string{
		"connection 1: served",
		fmt.Sprintf("connection 2: dropped, fork: errno %d", int(syscall.EAGAIN)),
		"connection 3: served",
		"done",
	}
	if !slices.Equal(lines, want) || len(left) > 0 {
		return "", fmt.Errorf("the server wrote %q, not %q; its children: %v", lines, want, left)
	}
	return fmt.Sprintf("errno %d is EAGAIN: %q. The server went on and has no child left", int(syscall.EAGAIN), syscall.EAGAIN.Error()), nil
}

//go:norace
func forkLimited(goOn, w int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.KeepOnly(goOn, w)
		serveLimited(w, 1, false)
		serveLimited(w, 2, true)
		serveLimited(w, 3, false)
		child.WriteString(w, "done\n")
		waitForEnd(goOn)
		child.Exit(0)
	}
	return pid, err
}

// serveLimited serves one connection by a fork, perhaps at the limit.
//
//go:nosplit
//go:norace
func serveLimited(w, connection int, atLimit bool) {
	soft := uint64(unix.RLIM_INFINITY)
	if atLimit {
		soft = 0
	}
	if errno := limitProcesses(soft); errno != 0 {
		var line child.Line
		line.Text("limit: errno ").Int(int(errno)).Text("\n").Write(w)
		child.Exit(1)
	}
	pid, errno := child.Fork()
	if pid == 0 {
		child.Exit(0)
	}
	var line child.Line
	line.Text("connection ").Int(connection)
	if errno == 0 {
		child.Wait4(pid, 0)
		line.Text(": served\n").Write(w)
	} else {
		line.Text(": dropped, fork: errno ").Int(int(errno)).Text("\n").Write(w)
	}
}

// limitProcesses sets the soft limit on processes of this user, up to the hard
// one. Root is exempt from it, so this process becomes nobody if it is root.
//
//go:nosplit
//go:norace
func limitProcesses(soft uint64) syscall.Errno {
	uid, _ := child.Syscall(unix.SYS_GETUID, 0, 0, 0, 0, 0, 0)
	if uid == 0 {
		_, errno := child.Syscall(unix.SYS_SETRESUID, nobody, nobody, nobody, 0, 0, 0)
		if errno != 0 {
			return errno
		}
	}
	var limit unix.Rlimit
	_, errno := child.Syscall(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, 0, uintptr(unsafe.Pointer(&limit)), 0, 0)
	if errno != 0 {
		return errno
	}
	limit.Cur = soft
	if limit.Cur > limit.Max {
		limit.Cur = limit.Max
	}
	_, errno = child.Syscall(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	return errno
}
