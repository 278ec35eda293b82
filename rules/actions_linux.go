//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/watchdog"
)

// action is one thing that a child does, and what the parent sees of it.
type action struct {
	name string
	run  func(ctx context.Context) (outcome, error)
}

// The actions of the library's children. Each exits with status done.
var libraryActions = []action{
	{"exit", func(ctx context.Context) (outcome, error) { return forkAndWait(ctx, exitDone) }},
	{"write", func(ctx context.Context) (outcome, error) { return withSocket(ctx, writeAndExit, "hello") }},
	{"exec", execProgram},
	{"serve", func(ctx context.Context) (outcome, error) { return withSocket(ctx, echoAndExit, "hello") }},
	{"fork again", func(ctx context.Context) (outcome, error) { return forkAndWait(ctx, forkAgain) }},
	{"close all", func(ctx context.Context) (outcome, error) { return forkAndWait(ctx, closeAll) }},
}

const done = 7

// forkAndWait forks a child that runs f and waits for it.
//
//go:norace
func forkAndWait(ctx context.Context, f func()) (outcome, error) {
	pid, err := rawfork.Fork()
	if err != nil {
		return outcome{}, err
	}
	if pid == 0 {
		f()
		child.Exit(done)
	}
	return await(ctx, pid, done)
}

// await waits for a child that should exit with the status.
func await(ctx context.Context, pid, want int) (outcome, error) {
	status, hung, err := watchdog.WaitInKernel(ctx, pid, limit)
	if err != nil {
		return outcome{}, err
	}
	if hung != "" {
		return outcome{hung: hung}, nil
	}
	if !status.Exited() || status.ExitStatus() != want {
		return outcome{wrong: fmt.Sprintf("wait status %#x, want exit status %d", uint32(status), want)}, nil
	}
	return outcome{}, nil
}

// withSocket forks a child that runs f(fd) on one end of a socket, of which the
// parent reads the rest after it has written text to its own end.
func withSocket(ctx context.Context, f func(fd int), text string) (outcome, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return outcome{}, os.NewSyscallError("socketpair", err)
	}
	near := os.NewFile(uintptr(pair[0]), "near")
	defer near.Close()
	pid, err := rawfork.Serve(pair[1], f)
	unix.Close(pair[1])
	if err != nil {
		return outcome{}, err
	}
	near.WriteString(text)
	unix.Shutdown(pair[0], unix.SHUT_WR)
	o, err := await(ctx, pid, done) // first: a child that hangs is killed, and the read ends
	if err != nil || o != (outcome{}) {
		return o, err
	}
	got := make([]byte, len(text)+1)
	n, _ := near.Read(got)
	if string(got[:n]) != text {
		return outcome{wrong: fmt.Sprintf("said %q, want %q", got[:n], text)}, nil
	}
	return outcome{}, nil
}

// execProgram forks a child that becomes another program at once.
//
//go:norace
func execProgram(ctx context.Context) (outcome, error) {
	image, err := child.PrepareImage("/bin/true", []string{"true"}, nil)
	if err != nil {
		return outcome{}, err
	}
	pid, err := rawfork.Fork()
	if err != nil {
		return outcome{}, err
	}
	if pid == 0 {
		child.Exec(image)
		child.Exit(1)
	}
	return await(ctx, pid, 0)
}

//go:nosplit
//go:norace
func exitDone() { child.Exit(done) }

//go:nosplit
//go:norace
func writeAndExit(fd int) {
	child.WriteString(fd, "hello")
	child.Exit(done)
}

//go:nosplit
//go:norace
func echoAndExit(fd int) {
	child.Echo(fd)
	child.Exit(done)
}

// forkAgain forks a grandchild and waits for it.
//
//go:nosplit
//go:norace
func forkAgain() {
	pid, errno := child.Fork()
	if pid == 0 {
		child.Exit(done)
	}
	if errno == 0 {
		var status syscall.WaitStatus
		if _, status, errno = child.Wait4(pid, 0); errno == 0 {
			child.Exit(int(status >> 8))
		}
	}
	child.Exit(1)
}

// closeAll closes every descriptor.
//
//go:nosplit
//go:norace
func closeAll() {
	if child.KeepOnly() != 0 {
		child.Exit(1)
	}
}
