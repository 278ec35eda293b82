//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// sharedCaveats are about what parent and child share, or wrongly believe to
// share, however they were forked.
func sharedCaveats() []Caveat {
	return []Caveat{
		{
			ID:      "shared-epoll",
			Claim:   "A child that unregisters a descriptor at the poller makes the parent deaf to it.",
			Why:     "Both use one epoll instance, and closing a file of package os edits it.",
			Source:  "epoll(7); epoll_ctl(2)",
			Instead: "child.Close, which leaves the poller alone",
			busy:    "idle",
			bad:     eventLost(unregister),
			good:    eventLost(closeWatched),
		},
		{
			ID:      "wait-steals",
			Claim:   "A reaper that waits for any child takes the status that os/exec waits for.",
			Why:     "A status is given out once.",
			Source:  "wait(2)",
			Instead: "rawfork.Wait for one's own pid, or package reap",
			busy:    "idle",
			Rare:    true, // the reaper may take its own child first
			bad:     statusStolen(waitAny),
			good:    statusStolen(waitOwn),
		},
		{
			ID:      "random-repeats",
			Claim:   "Parent and child draw the same numbers from a generator of math/rand.",
			Why:     "Its state is memory, and copied.",
			Source:  "POSIX fork()",
			Instead: "getrandom(2) by child.Syscall",
			busy:    "idle",
			bad:     numberRepeats(viaPlain, drawRand),
			good:    numberRepeats(viaLibrary, drawKernel),
		},
		{
			ID:      "random-global",
			Claim:   "The functions of math/rand/v2 give the child of a plain fork the parent's numbers. Those of crypto/rand don't.",
			Why:     "The runtime's generator is the thread's memory, and copied. The kernel's is the kernel's, and what it lends to a process is wiped in a child.",
			Source:  "runtime/rand.go; crypto/rand; getrandom(2), vgetrandom in vdso(7)",
			Instead: "crypto/rand, shown here in a child of a plain fork too; in the library's, getrandom(2) by child.Syscall",
			busy:    "idle",
			Rare:    true, // the runtime itself may draw in between
			bad:     drawnByBoth(rand.Uint64),
			good:    drawnByBoth(kernelNumber),
		},
		{
			ID:      "pdeathsig-thread",
			Claim:   "A child that asked to be killed with its parent dies while the parent lives.",
			Why:     "PR_SET_PDEATHSIG fires when the thread that forked ends.",
			Source:  "PR_SET_PDEATHSIG(2const); golang/go#27505",
			Instead: "a pipe or socket whose other end only the parent holds",
			busy:    "idle",
			bad:     outlivesThread(askForSignal),
			good:    outlivesThread(nothing),
		},
	}
}

// pollIn waits, in the kernel, for fd to be readable or at its end.
func pollIn(fd int, limit time.Duration) bool {
	for over := time.Now().Add(limit); ; {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(max(0, time.Until(over)).Milliseconds()))
		if err != unix.EINTR {
			return n == 1
		}
	}
}

// job is what the child of an attempt works with. It is set before the fork.
var job struct {
	setUp  func()
	fd     int
	epoll  int
	wakeup int // the eventfd of a poller
	event  unix.EpollEvent
	events [4]unix.EpollEvent
	parent [1]child.PollFd // the end of the socket by which the child lives
	number [8]byte
}

// eventLost watches a pipe by epoll(7), has the child do away with it in its own
// way, and looks whether the parent still hears of it.
func eventLost(inChild func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return "", os.NewSyscallError("pipe2", err)
		}
		defer unix.Close(pipe[0])
		defer unix.Close(pipe[1])
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return "", os.NewSyscallError("epoll_create1", err)
		}
		defer unix.Close(epoll)
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(pipe[0])}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, pipe[0], &event); err != nil {
			return "", os.NewSyscallError("epoll_ctl", err)
		}
		job.epoll, job.fd = epoll, pipe[0]
		if how, err := withStderr(ctx, viaLibrary, inChild); how != "" || err != nil {
			return how, err
		}
		if _, err := unix.Write(pipe[1], []byte(".")); err != nil {
			return "", os.NewSyscallError("write", err)
		}
		n, err := unix.EpollWait(epoll, make([]unix.EpollEvent, 1), 0)
		if err != nil {
			return "", os.NewSyscallError("epoll_wait", err)
		}
		if n == 0 {
			return "event lost", nil
		}
		return "", nil
	}
}

//go:nosplit
//go:norace
func unregister() {
	child.Syscall(unix.SYS_EPOLL_CTL, uintptr(job.epoll), unix.EPOLL_CTL_DEL, uintptr(job.fd),
		uintptr(unsafe.Pointer(&job.event)), 0, 0)
}

//go:nosplit
//go:norace
func closeWatched() { child.Close(job.fd) }

// statusStolen has os/exec wait for a program while reap reaps a child of the
// library.
func statusStolen(reap func(own int) error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		cmd := exec.CommandContext(ctx, "/bin/true")
		if err := cmd.Start(); err != nil {
			return "", err
		}
		// A zombie that is there to be taken, before anybody waits.
		if err := peekAt(cmd.Process.Pid); err != nil {
			return "", err
		}
		own, err := forkLibrary(2, nothing)
		if err != nil {
			return "", err
		}
		reapErr := reap(own)
		waitErr := cmd.Wait()
		rawfork.Wait(own) // if it was not reaped
		if reapErr != nil {
			return "", reapErr
		}
		if errors.Is(waitErr, syscall.ECHILD) {
			return "status stolen", nil
		}
		return "", waitErr
	}
}

func peekAt(pid int) error {
	return os.NewSyscallError("waitid", ignoringEINTR(func() error {
		return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}))
}

func ignoringEINTR(call func() error) (err error) {
	for err = call(); err == unix.EINTR; err = call() {
	}
	return err
}

// waitAny reaps as a careless reaper does: whoever has ended.
func waitAny(int) error {
	return os.NewSyscallError("waitid", ignoringEINTR(func() error {
		return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED, nil)
	}))
}

func waitOwn(own int) error {
	_, err := rawfork.Wait(own)
	return err
}

// numberRepeats draws a number in the child and then one in the parent.
func numberRepeats(via way, draw func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		file, err := memoryFile("number")
		if err != nil {
			return "", err
		}
		defer file.Close()
		job.fd = int(file.Fd())
		generator = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
		if how, err := withStderr(ctx, via, draw); how != "" || err != nil {
			return how, err
		}
		number := generator.Uint64()
		drawn, err := contents(file)
		if err != nil || len(drawn) != 8 {
			return "", fmt.Errorf("the child's number has %d bytes, %w", len(drawn), err)
		}
		if binary.NativeEndian.Uint64([]byte(drawn)) == number {
			return "same number", nil
		}
		return "", nil
	}
}

// drawnByBoth has the child of a plain fork draw a number, and the parent. A child that
// hangs draws none, which is another caveat: then one more is forked.
func drawnByBoth(draw func() uint64) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		runtime.LockOSThread() // the generator is the thread's
		defer runtime.UnlockOSThread()
		file, err := memoryFile("number")
		if err != nil {
			return "", err
		}
		defer file.Close()
		job.fd = int(file.Fd())
		draw() // what is made for the first number isn't made in the child
		for range 20 {
			pid, err := forkPlain(2, func() {
				binary.NativeEndian.PutUint64(job.number[:], draw())
				writeNumber()
			})
			if err != nil {
				return "", err
			}
			number := draw()
			how, err := ended(ctx, pid, controlLimit)
			if err != nil {
				return "", err
			}
			drawn, err := contents(file)
			if err != nil {
				return "", err
			}
			if len(drawn) != 8 {
				continue
			}
			if binary.NativeEndian.Uint64([]byte(drawn)) == number {
				return "same number", nil
			}
			if how == hung { // after it had drawn
				how = ""
			}
			return how, nil
		}
		return "", errors.New("20 children hung before they had drawn")
	}
}

var generator *rand.Rand

func drawRand() {
	binary.NativeEndian.PutUint64(job.number[:], generator.Uint64())
	writeNumber()
}

//go:nosplit
//go:norace
func drawKernel() {
	child.Syscall(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&job.number)), 8, 0, 0, 0, 0)
	writeNumber()
}

//go:nosplit
//go:norace
func writeNumber() {
	child.Syscall(unix.SYS_WRITE, uintptr(job.fd), uintptr(unsafe.Pointer(&job.number)), 8, 0, 0, 0)
}

// outlivesThread forks on a thread that ends then, and looks whether the child
// ends by itself, when the pipe lifeline ends.
func outlivesThread(setUp func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (how string, err error) {
		// One socket says both that the child is in place and that the parent is
		// gone.
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return "", os.NewSyscallError("socketpair", err)
		}
		job.fd, job.setUp = pair[1], setUp
		pid, tid := -1, 0
		onEndingThread(func() {
			tid = unix.Gettid()
			pid, err = forkLibrary(2, outlive)
			unix.Close(pair[1])
			pollIn(pair[0], limit) // if it fails, the child's status says why
		})
		if err != nil {
			unix.Close(pair[0])
			return "", err
		}
		for unix.Tgkill(os.Getpid(), tid, 0) == nil {
			runtime.Gosched() // until the thread has ended
		}
		unix.Close(pair[0])
		how, err = ended(ctx, pid, limit)
		if how == fmt.Sprintf("wait status %#x", uint32(syscall.SIGKILL)) {
			how = "died with the thread"
		}
		return how, err
	}
}

// onEndingThread calls f on a thread that ends after it. The main thread never
// does.
func onEndingThread(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: so the thread ends
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			onEndingThread(f)
			return
		}
		f()
	}()
	<-done
}

//go:nosplit
//go:norace
func outlive() {
	child.KeepOnly(0, 1, 2, job.fd)
	job.setUp()
	child.WriteString(job.fd, ".")
	child.Discard(job.fd)
}

//go:nosplit
//go:norace
func askForSignal() { child.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0) }
