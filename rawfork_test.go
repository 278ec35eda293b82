//go:build linux && cgo && (amd64 || arm64)

// The contract of the core: one test for each sentence of it, in the order of
// Fork's doc comment. A child of these tests either exits by itself, with a
// status that its parent knows, or is held (see hold) while its parent reads its
// state from /proc.
package rawfork_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/helper"
	"rawfork/internal/ccall"
	"rawfork/internal/forktest"
)

func TestMain(m *testing.M) {
	helper.Init()
	forktest.Main(m, map[string]func(){
		"forkAboveAddressSpaceLimit": forkAboveAddressSpaceLimit,
		"forkAtCgroupLimit":          forkAtCgroupLimit,
		"forkAtProcessLimit":         forkAtProcessLimit,
		"forkInDeadPidns":            forkInDeadPidns,
		"forkOnMainThread":           forkOnMainThread,
		"forkWhileLibcIsLocked":      forkWhileLibcIsLocked,
		"forkWithoutMemory":          forkWithoutMemory,
		"guardUnder":                 guardUnder,
		"guardUnderTracing":          guardUnderTracing,
		"printEveryByte":             printEveryByte,
		"startAtProcessLimit":        startAtProcessLimit,
		"startOnTerminal":            startOnTerminal,
		"startWithNofile":            startWithNofile,
		"startWithoutDescriptors":    startWithoutDescriptors,
		"startWithMap":               startWithMap,
	})
}

// ---- Fork returns twice. ----

// The pid in the parent, 0 in the child, no error in either, and both go on
// right after the call.
func TestForkReturnsTwice(t *testing.T) {
	inEveryLoad(t, func(t *testing.T) {
		r, w := pipe(t)
		self, fd := os.Getpid(), int(w.Fd())
		pid, err := rawfork.Fork()
		if pid == 0 {
			if err != nil {
				child.Exit(1)
			}
			child.WriteInt(fd, child.Getpid())
			child.WriteString(fd, " ")
			child.WriteInt(fd, child.Getppid())
			child.Exit(7)
		}
		if err != nil {
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, 7)
		if diff := cmp.Diff(fmt.Sprint(pid, " ", self), output(t, r, w)); diff != "" {
			t.Errorf("pid and parent, as the child sees them (-want +got):\n%s", diff)
		}
	})
}

// A function of the user's own that forks returns twice itself: its caller goes
// on in two processes.
func TestForkInOwnFunction(t *testing.T) {
	pid, who, err := forkInOwnFunction()
	if pid == 0 {
		child.Exit(who)
	}
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, pid, 'c')
	if who != 'p' {
		t.Errorf("in the parent the function returned %q, want 'p'", who)
	}
}

//go:noinline
func forkInOwnFunction() (pid, who int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		return 0, 'c', nil
	}
	return pid, 'p', err
}

// A deferred function runs in the child too, when the function that forked
// returns there: under the child's rules. Where the compiler doesn't open-code
// the defer (without optimisation), or wraps it (-race), returning is by itself a
// call that checks the stack, so the child dies at once. It never hangs.
func TestForkInFunctionWithDefer(t *testing.T) {
	deferred := 0
	r, w := pipe(t)
	pid := forkInFunctionWithDefer(t, int(w.Fd()), &deferred)
	if pid == 0 {
		child.Exit(deferred)
	}
	status := forktest.Wait(t, pid)
	stderr := output(t, r, w)
	switch {
	case status.Exited() && status.ExitStatus() == 1 && stderr == "":
		t.Log("the deferred function ran in the child")
	case status.Exited() && status.ExitStatus() == 2 && strings.Contains(stderr, "rawfork_test.forkInFunctionWithDefer("):
		t.Log("the child died as the function returned")
	default:
		t.Errorf("child: %s, want exit status 1, or 2 and the function on stderr, which holds:\n%s",
			forktest.Describe(status), stderr)
	}
	if deferred != 1 {
		t.Errorf("the deferred function ran %d times in the parent, want once", deferred)
	}
}

//go:noinline
//go:norace
func forkInFunctionWithDefer(t *testing.T, stderr int, n *int) int {
	defer increment(n)
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.Dup3(stderr, 2, 0)
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

//go:nosplit
//go:norace
func increment(n *int) { *n++ }

// ---- The child is a copy of the calling process with one thread. ----

func TestChildHasOneThread(t *testing.T) {
	inEveryLoad(t, func(t *testing.T) {
		pid := hold(t)
		if got := threads(t, os.Getpid()); len(got) < 2 {
			t.Fatalf("the parent has the threads %v: the test shows nothing", got)
		}
		if diff := cmp.Diff([]string{fmt.Sprint(pid)}, threads(t, pid)); diff != "" {
			t.Errorf("threads of the child (-want +got):\n%s", diff)
		}
	})
}

// Go's handlers are back at the default action, what the parent ignores stays
// ignored.
func TestChildHasDefaultHandlers(t *testing.T) {
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, syscall.SIGUSR2)
	defer signal.Stop(handled)
	signal.Ignore(syscall.SIGUSR1)
	defer unignore(syscall.SIGUSR1)
	inEveryLoad(t, func(t *testing.T) {
		caughtBefore, ignoredBefore := signals(t, os.Getpid())
		if caughtBefore == 0 || ignoredBefore == 0 {
			t.Fatalf("the parent handles %#x and ignores %#x: the test shows nothing", caughtBefore, ignoredBefore)
		}
		caught, ignored := signals(t, hold(t))
		if caught != 0 {
			t.Errorf("signals that the child handles: %#x, want none", caught)
		}
		if ignored != ignoredBefore {
			t.Errorf("signals that the child ignores: %#x, want the parent's, %#x", ignored, ignoredBefore)
		}
	})
}

// signals are the sets of signals that a process handles and ignores. Those of
// libc's own are left out: 32 to 34, of which nobody else may use 32 and 33.
func signals(t *testing.T, pid int) (caught, ignored uint64) {
	t.Helper()
	fields := status(t, pid)
	for _, f := range []struct {
		set  *uint64
		name string
	}{{&caught, "SigCgt"}, {&ignored, "SigIgn"}} {
		set, err := strconv.ParseUint(fields[f.name], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		*f.set = set &^ (1<<31 | 1<<32 | 1<<33)
	}
	return caught, ignored
}

// A default action means that a signal ends the child as it ends a C program.
func TestSignalEndsChild(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2, syscall.SIGURG} {
		pid := hold(t)
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		if sig == syscall.SIGURG { // ignored by default: another one finds the child alive
			sig = syscall.SIGTERM
			if err := syscall.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
		forktest.WantSignal(t, pid, sig)
	}
}

// The child's mask is that of the thread that called Fork, and that thread's
// mask is the same before and after.
func TestChildHasCallersMask(t *testing.T) {
	for _, blocked := range [][]syscall.Signal{
		{},
		{syscall.SIGUSR1},
		{syscall.SIGTERM, syscall.SIGURG, syscall.SIGPROF, syscall.Signal(40)},
	} {
		t.Run(fmt.Sprint(blocked), func(t *testing.T) {
			inEveryLoad(t, func(t *testing.T) {
				runtime.LockOSThread() // until it ends with the goroutine, mask and all
				mask := sigset(blocked...)
				if err := unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil); err != nil {
					t.Fatal(err)
				}
				pid := hold(t)
				var after unix.Sigset_t
				if err := unix.PthreadSigmask(unix.SIG_SETMASK, nil, &after); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(mask, after); diff != "" {
					t.Errorf("mask of the calling thread after Fork (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(fmt.Sprintf("%016x", mask.Val[0]), status(t, pid)["SigBlk"]); diff != "" {
					t.Errorf("mask of the child (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// All descriptors are open in the child, close-on-exec or not, and they are the
// parent's open file descriptions.
func TestChildHasAllDescriptors(t *testing.T) {
	_, file := pipe(t) // close-on-exec
	w := int(file.Fd())
	kept, err := unix.Dup(w)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(kept)
	inEveryLoad(t, func(t *testing.T) {
		pid := hold(t)
		want, got := descriptors(t, os.Getpid()), descriptors(t, pid)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("descriptors of the child (-parent +child):\n%s", diff)
		}
		for _, fd := range []int{w, kept} {
			if got[fmt.Sprint(fd)] == "" {
				t.Errorf("descriptor %d isn't open in the child: %v", fd, got)
			}
		}
	})
}

// What one process writes to its memory the other doesn't see.
func TestChildHasCopyOfMemory(t *testing.T) {
	onHeap, onStack := new(int), 1
	*onHeap = 1
	r, w := pipe(t)
	order := int(r.Fd())
	pid, err := rawfork.Fork()
	if pid == 0 {
		onStack, *onHeap = onStack+1, *onHeap+1
		var b [1]byte
		child.Read(order, b[:]) // until the parent has written to its memory
		child.Exit(onStack<<4 | *onHeap)
	}
	if err != nil {
		t.Fatal(err)
	}
	onStack, *onHeap = onStack+8, *onHeap+8
	w.WriteString("x")
	forktest.WantExit(t, pid, 2<<4|2)
	if onStack != 9 || *onHeap != 9 {
		t.Errorf("in the parent: %d on the stack, %d on the heap, want 9 and 9", onStack, *onHeap)
	}
}

// The rest of what fork copies, as the kernel shows it.
func TestChildHasCopyOfAttributes(t *testing.T) {
	t.Chdir(t.TempDir())
	pid := hold(t)
	for _, name := range []string{"environ", "cmdline", "limits", "cgroup", "timerslack_ns", "oom_score_adj"} {
		if diff := cmp.Diff(proc(t, os.Getpid(), name), proc(t, pid, name)); diff != "" {
			t.Errorf("%s (-parent +child):\n%s", name, diff)
		}
	}
	for _, name := range []string{"cwd", "root", "exe", "ns/mnt", "ns/net"} {
		if diff := cmp.Diff(link(t, os.Getpid(), name), link(t, pid, name)); diff != "" {
			t.Errorf("%s (-parent +child):\n%s", name, diff)
		}
	}
	self, got := status(t, os.Getpid()), status(t, pid)
	for _, name := range []string{"Name", "Umask", "Uid", "Gid", "Groups", "CapEff", "Seccomp"} {
		if diff := cmp.Diff(self[name], got[name]); diff != "" {
			t.Errorf("%s (-parent +child):\n%s", name, diff)
		}
	}
}

// The environment that the program has set is there for an exec in the child.
func TestChildHasCopyOfEnvironment(t *testing.T) {
	t.Setenv("RAWFORK_TEST", "set by the parent")
	image, err := child.PrepareImage("/bin/sh", []string{"sh", "-c", `test "$RAWFORK_TEST" = "set by the parent"`}, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.Exec(image)
		child.Exit(126)
	}
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, pid, 0)
}

// ---- Any other call dies at once. ----

// The full list of such calls, and what the guard can't see, is in the tests of
// the caveats: this one is the sentence of the contract.
func TestForbiddenCallDies(t *testing.T) {
	inEveryLoad(t, func(t *testing.T) {
		r, w := pipe(t)
		fd := int(w.Fd())
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Dup3(fd, 2, 0)
			fmt.Println("not from a child")
			child.Exit(0)
		}
		if err != nil {
			t.Fatal(err)
		}
		stderr := output(t, r, w)
		forktest.WantExit(t, pid, 2)
		for _, want := range []string{"fatal error: stack growth after fork\n", "\nfmt."} {
			if !strings.Contains(stderr, want) {
				t.Errorf("stderr of the child lacks %q:\n%s", want, stderr)
			}
		}
	})
}

// A child that calls Fork again is stopped the same way: child.Fork is its fork.
func TestForkInChildDies(t *testing.T) {
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.Close(2)
		rawfork.Fork()
		child.Exit(0)
	}
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, pid, 2)
}

// ---- Fork holds ForkLock. ----

func TestForkHoldsForkLock(t *testing.T) {
	pids := make(chan int)
	syscall.ForkLock.RLock()
	go func() {
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Exit(0)
		}
		if err != nil {
			t.Error(err)
		}
		pids <- pid
	}()
	// A second reader is refused once Fork waits for the lock.
	for syscall.ForkLock.TryRLock() {
		syscall.ForkLock.RUnlock()
		runtime.Gosched()
	}
	var ws syscall.WaitStatus
	if pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("a child while ForkLock is held by another: wait4 = %d, %v, want ECHILD", pid, err)
	}
	syscall.ForkLock.RUnlock()
	forktest.WantExit(t, <-pids, 0)
	wantForkLockFree(t)
}

func wantForkLockFree(t *testing.T) {
	t.Helper()
	if !syscall.ForkLock.TryLock() {
		t.Fatal("ForkLock is held after Fork has returned")
	}
	syscall.ForkLock.Unlock()
}

// ---- Precondition: none as to the thread. ----

// Fork works wherever Go code runs.
func TestForkFromEverywhere(t *testing.T) {
	file, _ := pipe(t)
	for _, from := range []struct {
		name string
		call func(func()) error
	}{
		{"goroutine", func(f func()) error { done(f); return nil }},
		{"locked thread", func(f func()) error {
			done(func() { runtime.LockOSThread(); f() }) // the thread ends with it
			return nil
		}},
		{"callback out of C", func(f func()) error { ccall.Here(f); return nil }},
		{"callback out of C on a thread of C's", ccall.Thread},
		{"inside WithFD", func(f func()) error {
			return rawfork.WithFD(file, func(int) error { f(); return nil })
		}},
		{"deep stack", func(f func()) error { deep(1000, f); return nil }},
		{"finalizer", func(f func()) error {
			ended := make(chan bool)
			runtime.AddCleanup(new([64]byte), func(int) { f(); close(ended) }, 0)
			for {
				runtime.GC()
				select {
				case <-ended:
					return nil
				default:
				}
			}
		}},
	} {
		t.Run(from.name, func(t *testing.T) {
			inEveryLoad(t, func(t *testing.T) {
				var pid int
				var err error
				ran := false
				if e := from.call(func() {
					pid, err = rawfork.Fork()
					if pid == 0 {
						child.Exit(7)
					}
					ran = true
				}); e != nil {
					t.Fatal(e)
				}
				if err != nil || !ran {
					t.Fatalf("ran: %v, error: %v", ran, err)
				}
				forktest.WantExit(t, pid, 7)
			})
		})
	}
}

func TestForkOnMainThread(t *testing.T) {
	out, err := forktest.Command(t, "forkOnMainThread").CombinedOutput()
	if err != nil || string(out) != "7 <nil>\n" {
		t.Errorf("%s: %v", out, err)
	}
}

func init() {
	// In an init function the goroutine is on the main thread, and stays there.
	if forktest.Playing("forkOnMainThread") {
		runtime.LockOSThread()
	}
}

func forkOnMainThread() {
	if unix.Gettid() != os.Getpid() {
		fmt.Println("not on the main thread")
		os.Exit(1)
	}
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.Exit(7)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	status, err := rawfork.Wait(pid)
	fmt.Println(status.ExitStatus(), err)
}

// Fork waits for no lock of libc's: a C thread holds that of the streams until a
// goroutine has read, which can't run while Fork has the only P.
func TestForkDoesNotWaitForLibc(t *testing.T) {
	if !ccall.HasUnderscoreFork() {
		t.Skip("this libc has no _Fork")
	}
	cmd := forktest.Command(t, "forkWhileLibcIsLocked")
	timer := time.AfterFunc(forktest.Watchdog, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v", out, err)
	}
}

func forkWhileLibcIsLocked() {
	runtime.GOMAXPROCS(1)
	r, w, err := os.Pipe()
	must(err)
	fd := int(w.Fd())
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	must(err)
	w.Write(make([]byte, size)) // no room for another byte
	tids, flushed := make(chan int, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		tids <- unix.Gettid()
		flushed <- ccall.Flush(fd)
	}()
	must(untilIn(<-tids, unix.SYS_WRITE, unix.SYS_WRITEV)) // glibc's, musl's
	wantExit(7)
	r.Read(make([]byte, size))
	must(<-flushed)
}

// unignore undoes signal.Ignore. signal.Reset doesn't: it leaves the signal ignored,
// and programs that are started later inherit that.
func unignore(sigs ...os.Signal) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, sigs...)
	signal.Stop(c)
}

// Several goroutines fork at once, each gets its own child.
func TestForkFromManyGoroutines(t *testing.T) {
	inEveryLoad(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 4 {
					code := g<<4 | i
					pid, err := rawfork.Fork()
					if pid == 0 {
						child.Exit(code)
					}
					if err != nil {
						t.Error(err)
						return
					}
					forktest.WantExit(t, pid, code)
				}
			})
		}
		wg.Wait()
	})
}

// ---- Helpers. ----

// hold forks a child that waits for its end, and returns its pid once it runs
// its own code. The test ends it, if it hasn't ended itself.
func hold(t *testing.T) (pid int) {
	t.Helper()
	r, w := pipe(t)
	fd := int(w.Fd())
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.WriteString(fd, "ready")
		child.Close(fd)
		child.Pause()
		child.Exit(0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// ECHILD: the test has reaped it, and the pid may be another's by now.
		if unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil {
			syscall.Kill(pid, syscall.SIGKILL)
			forktest.Wait(t, pid)
		}
	})
	if got := output(t, r, w); got != "ready" {
		t.Fatalf("child %d said %q, want \"ready\"", pid, got)
	}
	return pid
}

// pipe makes a pipe. The test closes what is left of it.
func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// output is what comes out of a pipe once the child holds the only other end.
func output(t testing.TB, r, w *os.File) string {
	t.Helper()
	w.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// done runs f on a goroutine of its own.
func done(f func()) {
	var wg sync.WaitGroup
	wg.Go(f)
	wg.Wait()
}

// deep calls f with n frames below it.
func deep(n int, f func()) {
	var frame [128]byte
	if n == 0 {
		f()
	} else {
		deep(n-1, f)
	}
	runtime.KeepAlive(&frame)
}

func sigset(sigs ...syscall.Signal) (set unix.Sigset_t) {
	for _, sig := range sigs {
		set.Val[0] |= 1 << (sig - 1)
	}
	return set
}

// proc is what /proc says of a process.
func proc(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func link(t *testing.T, pid int, name string) string {
	t.Helper()
	target, err := os.Readlink(filepath.Join("/proc", fmt.Sprint(pid), name))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// status is /proc/PID/status as a map.
func status(t *testing.T, pid int) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for line := range strings.Lines(proc(t, pid, "status")) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

func threads(t *testing.T, pid int) (tids []string) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		tids = append(tids, e.Name())
	}
	return tids
}

// descriptors maps a process's descriptors to what they are.
func descriptors(t *testing.T, pid int) map[string]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for _, e := range entries {
		target, err := os.Readlink(dir + e.Name())
		if errors.Is(err, os.ErrNotExist) {
			continue // that of this listing
		}
		if err != nil {
			t.Fatal(err)
		}
		open[e.Name()] = target
	}
	return open
}
