//go:build cgo && (amd64 || arm64)

package reap_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/reap"
)

// start makes a Reaper that is closed after the test.
func start(t testing.TB, options reap.Options) *reap.Reaper {
	t.Helper()
	r, err := reap.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// patience is a context that ends when a test hangs.
func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), forktest.Watchdog)
	t.Cleanup(cancel)
	return ctx
}

// wait waits for a child with the watchdog.
func wait(t testing.TB, c *reap.Child) reap.Exit {
	t.Helper()
	exit, err := c.Wait(patience(t))
	if err != nil {
		syscall.Kill(c.Pid(), syscall.SIGKILL)
		t.Fatal(err)
	}
	return exit
}

// a gate holds children back until it is opened, by closing the write end.
type gate struct{ read, write *os.File }

func newGate(t testing.TB) gate {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g := gate{read, write}
	t.Cleanup(func() { read.Close(); write.Close() })
	return g
}

func (g gate) open() { g.write.Close() }

// fork makes a child that exits with code once the gate is open.
//
//go:norace
func (g gate) fork(code int) (pid int, err error) {
	read := -1
	if err := rawfork.WithFD(g.read, func(fd int) error { read = fd; return nil }); err != nil {
		return 0, err
	}
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.KeepOnly(0, 1, 2, read) // the write end, too, or nobody would see its end
		var b [1]byte
		child.Read(read, b[:])
		child.Exit(code)
	}
	return pid, err
}

func TestStatuses(t *testing.T) {
	exits := make(chan reap.Exit, 10)
	r := start(t, reap.Options{OnExit: func(e reap.Exit) { exits <- e }})
	for _, test := range []struct {
		script string
		want   string
	}{
		{"exit 0", "exit status 0"},
		{"exit 7", "exit status 7"},
		{"exit 255", "exit status 255"},
		{"kill -TERM $$", "killed by terminated"},
		{"kill -KILL $$", "killed by killed"},
	} {
		before := time.Now()
		c, err := r.Start(func() (int, error) {
			return rawfork.ForkExec("/bin/sh", []string{"sh", "-c", test.script}, nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		exit := wait(t, c)
		if diff := cmp.Diff(test.want, forktest.Describe(exit.Status)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.script, diff)
		}
		if exit.Pid != c.Pid() || exit.Orphan {
			t.Errorf("%s: pid %d, orphan %v, want pid %d and no orphan", test.script, exit.Pid, exit.Orphan, c.Pid())
		}
		if exit.Usage.Maxrss == 0 || exit.Time.Before(before) || exit.Time.After(time.Now()) {
			t.Errorf("%s: usage %+v, time %v", test.script, exit.Usage, exit.Time)
		}
		if diff := cmp.Diff(exit, <-exits); diff != "" {
			t.Errorf("%s: what OnExit got (-Wait +OnExit):\n%s", test.script, diff)
		}
	}
}

// The status that is put together from siginfo_t is the one that wait4 gives.
func TestStatusIsThatOfWait4(t *testing.T) {
	r := start(t, reap.Options{})
	for _, script := range []string{"exit 3", "kill -QUIT $$", "kill -ABRT $$", "kill -HUP $$"} {
		run := func() (int, error) {
			// A limit of 0 and one without: with and without the flag for a core.
			return rawfork.ForkExec("/bin/sh", []string{"sh", "-c", "cd /proc/self; " + script}, nil)
		}
		pid, err := run()
		if err != nil {
			t.Fatal(err)
		}
		want := forktest.Wait(t, pid)
		c, err := r.Start(run)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, wait(t, c).Status); diff != "" {
			t.Errorf("%s (-wait4 +reaper):\n%s", script, diff)
		}
	}
}

// Thousands die at once: each is reported, exactly once, and os/exec beside it keeps
// all of its statuses.
func TestManyAtOnce(t *testing.T) {
	n := 200
	if text := os.Getenv("RAWFORK_SOAK_CHILDREN"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	got := map[int][]int{} // exit statuses by pid
	r := start(t, reap.Options{OnExit: func(e reap.Exit) {
		got[e.Pid] = append(got[e.Pid], e.Status.ExitStatus())
	}})
	g := newGate(t)
	want := map[int][]int{}
	var children []*reap.Child
	for i, pid := range g.many(t, n) {
		c, err := r.Add(pid)
		if err != nil {
			g.open()
			t.Fatal(err)
		}
		want[pid] = []int{i % 200}
		children = append(children, c)
	}

	quit := make(chan struct{})
	var others sync.WaitGroup
	for i := range 4 {
		others.Go(func() {
			for code := i; ; code++ {
				cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("exit %d", code%100))
				cmd.Run()
				if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code%100 {
					t.Errorf("os/exec: exit %d: %v", code%100, cmd.ProcessState)
				}
				select {
				case <-quit:
					return
				default:
				}
			}
		})
	}
	g.open()
	// All share the processors with all others until the last one's end.
	ctx, cancel := context.WithTimeout(context.Background(), forktest.Watchdog+time.Duration(n)*50*time.Millisecond)
	defer cancel()
	for _, c := range children {
		if _, err := c.Wait(ctx); err != nil {
			t.Error(err)
			break
		}
	}
	close(quit)
	others.Wait()
	r.Close() // waits for OnExit
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exits by pid (-want +got):\n%s", diff)
	}
}

// many makes n children that end once the gate is open, with the statuses 0 to 199
// and so on. They are made by one that has no memory to speak of to copy.
func (g gate) many(t *testing.T, n int) (pids []int) {
	pipe := newGate(t)
	read, write := int(g.read.Fd()), int(pipe.write.Fd())
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.KeepOnly(0, 1, 2, read, write)
		forkMany(read, write, n)
		child.Exit(0)
	}
	if err != nil {
		t.Fatal(err)
	}
	pipe.write.Close()
	var said int
	for range n {
		if _, err := fmt.Fscanln(pipe.read, &said); err != nil {
			t.Errorf("pid %d of %d: %v", len(pids), n, err)
			break
		}
		pids = append(pids, said)
	}
	forktest.WantExit(t, pid, 0)
	return pids
}

// forkMany forks by CLONE_PARENT: the children are its parent's.
//
//go:nosplit
//go:norace
func forkMany(read, write, n int) {
	for i := range n {
		pid, errno := child.Syscall(unix.SYS_CLONE, unix.CLONE_PARENT, 0, 0, 0, 0, 0)
		if errno != 0 {
			child.Exit(1)
		}
		if pid == 0 {
			child.Close(write)
			var b [1]byte
			child.Read(read, b[:])
			child.Exit(i % 200)
		}
		var line child.Line
		line.Int(int(pid)).Text("\n").Write(write)
	}
}

// Many goroutines may wait for one child, and late.
func TestManyWaits(t *testing.T) {
	r := start(t, reap.Options{})
	g := newGate(t)
	c, err := r.Start(func() (int, error) { return g.fork(5) })
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if code := wait(t, c).Status.ExitStatus(); code != 5 {
				t.Errorf("exit status %d, want 5", code)
			}
		})
	}
	g.open()
	all.Wait()
	<-c.Done()
	if code := wait(t, c).Status.ExitStatus(); code != 5 {
		t.Errorf("late wait: exit status %d, want 5", code)
	}
}

func TestWaitWithContext(t *testing.T) {
	r := start(t, reap.Options{})
	g := newGate(t)
	c, err := r.Start(func() (int, error) { return g.fork(5) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with a context that is done: %v, want %v", err, context.Canceled)
	}
	g.open()
	wait(t, c)
	if exit, err := c.Wait(ctx); err != nil || exit.Status.ExitStatus() != 5 {
		t.Errorf("the same when the child is reaped: %v, %v, want exit status 5", exit.Status, err)
	}
}

func TestBadChildren(t *testing.T) {
	r := start(t, reap.Options{})
	g := newGate(t)
	c, err := r.Start(func() (int, error) { return g.fork(0) })
	if err != nil {
		t.Fatal(err)
	}
	reaped, err := g.forkOpen()
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, reaped, 0)
	for _, test := range []struct {
		what string
		pid  int
		want error
	}{
		{"0", 0, syscall.EINVAL},
		{"any child", -1, syscall.EINVAL},
		{"this process", os.Getpid(), syscall.ECHILD},
		{"somebody else's child", 1, syscall.ECHILD},
		{"no process", 1 << 30, syscall.ESRCH},
		{"reaped already", reaped, syscall.ESRCH},
		{"handed over already", c.Pid(), syscall.EEXIST},
	} {
		if _, err := r.Add(test.pid); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.what, err, test.want)
		}
	}
	failed := errors.New("failed on purpose")
	if _, err := r.Start(func() (int, error) { return 0, failed }); err != failed {
		t.Errorf("start that fails: %v, want %v", err, failed)
	}
	if diff := cmp.Diff([]int{c.Pid()}, r.Pids()); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	g.open()
	wait(t, c)
}

// forkOpen is fork with a gate that stays as it is, for a child that ends at once.
//
//go:norace
func (g gate) forkOpen() (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.Exit(0)
	}
	return pid, err
}

// Somebody else may wait for a child that the Reaper has: then its status is lost,
// and who waits for it here is told so.
func TestTakenBySomebodyElse(t *testing.T) {
	r := start(t, reap.Options{OnExit: func(e reap.Exit) { t.Errorf("OnExit got %+v", e) }})
	g := newGate(t)
	pid, err := g.fork(0)
	if err != nil {
		t.Fatal(err)
	}
	// A wait that is there before the child ends takes it first.
	taken := make(chan error, 1)
	c, err := r.Add(pid)
	if err != nil {
		t.Fatal(err)
	}
	release := reap.HoldForTest(r)
	g.open()
	go func() { _, err := rawfork.Wait(pid); taken <- err }()
	if err := <-taken; err != nil {
		t.Error(err)
	}
	release()
	if _, err := c.Wait(patience(t)); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("%v, want ECHILD", err)
	}
	if err := c.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal: %v, want %v", err, os.ErrProcessDone)
	}
}

// Start leaves no child behind that it can't hand over.
func TestStartWithoutDescriptors(t *testing.T) {
	if out, err := forktest.Command(t, "nofiles").CombinedOutput(); err != nil || string(out) != "ok" {
		t.Errorf("%v: %s", err, out)
	}
}

// noFiles is a process that has no descriptor left for a pidfd.
func noFiles() {
	r, err := reap.New(reap.Options{})
	check(err)
	read, write, err := os.Pipe()
	check(err)
	g := gate{read, write}
	var limit syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur = 0
	check(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	pid := 0
	_, err = r.Start(func() (_ int, err error) {
		pid, err = g.fork(0)
		return pid, err
	})
	if !errors.Is(err, syscall.EMFILE) {
		check(fmt.Errorf("Start: %v, want EMFILE", err))
	}
	if _, err := rawfork.Wait(pid); !errors.Is(err, syscall.ECHILD) {
		check(fmt.Errorf("wait for the child of Start: %v, want ECHILD", err))
	}
	check(r.Close())
	fmt.Print("ok")
}

func TestClose(t *testing.T) {
	r, err := reap.New(reap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t)
	c, err := r.Start(func() (int, error) { return g.fork(9) })
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { _, err := c.Wait(patience(t)); waited <- err }()
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-waited; !errors.Is(err, reap.ErrClosed) {
		t.Errorf("wait: %v, want %v", err, reap.ErrClosed)
	}
	if _, err := r.Add(c.Pid()); !errors.Is(err, reap.ErrClosed) {
		t.Errorf("add: %v, want %v", err, reap.ErrClosed)
	}
	g.open()
	forktest.WantExit(t, c.Pid(), 9) // the caller's again
}

func TestSignal(t *testing.T) {
	r := start(t, reap.Options{})
	g := newGate(t)
	c, err := r.Start(func() (int, error) { return g.fork(0) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SignalGroup(syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("signal to the group of a child that leads none: %v, want ESRCH", err)
	}
	if err := c.Signal(syscall.SIGUSR1); err != nil {
		t.Error(err)
	}
	if sig := wait(t, c).Status.Signal(); sig != syscall.SIGUSR1 {
		t.Errorf("ended by %v, want SIGUSR1", sig)
	}
	if err := c.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to a child that is reaped: %v, want %v", err, os.ErrProcessDone)
	}

	// The group is the shell and a child of its own, which is ours once both are dead.
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	leader, err := r.Start(func() (int, error) {
		defer write.Close()
		return rawfork.ForkExec("/bin/sh", []string{"sh", "-c", "sleep 300 & echo $!; wait"}, &syscall.ProcAttr{
			Env:   os.Environ(),
			Files: []uintptr{0, write.Fd(), 2},
			Sys:   &syscall.SysProcAttr{Setpgid: true},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	var sleep int
	if _, err := fmt.Fscan(read, &sleep); err != nil {
		t.Fatal(err)
	}
	if err := leader.SignalGroup(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	wait(t, leader)
	forktest.WantSignal(t, sleep, syscall.SIGKILL)
}

func TestZombies(t *testing.T) {
	g := newGate(t)
	r := start(t, reap.Options{})
	var pids []int
	for range 3 {
		pid, err := g.fork(0)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	zombies := func() []int {
		t.Helper()
		z, err := reap.Zombies()
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	if z := zombies(); len(z) > 0 {
		t.Errorf("zombies %v while all children live", z)
	}
	g.open()
	for _, pid := range pids {
		peek(t, pid)
	}
	slices.Sort(pids)
	if diff := cmp.Diff(pids, zombies()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, pid := range pids { // they may be handed over dead
		c, err := r.Add(pid)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, c)
	}
	if z := zombies(); len(z) > 0 {
		t.Errorf("zombies %v after all were reaped", z)
	}
}
