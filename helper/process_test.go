//go:build linux && cgo && (amd64 || arm64)

package helper_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/helper"
	"rawfork/internal/forktest"
	"rawfork/internal/ps"
)

// status returns a field of /proc/PID/status.
func status(t testing.TB, pid int, field string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no field %s in the status of %d", field, pid)
	return ""
}

func TestHelperProcess(t *testing.T) {
	h := start(t, helper.Options{})
	if got := status(t, h.Pid(), "Threads"); got != "1" {
		t.Errorf("%s threads, want 1", got)
	}
	if got := status(t, h.Pid(), "Name"); got != "rawfork-helper" {
		t.Errorf("name %q, want rawfork-helper", got)
	}
	if got := status(t, h.Pid(), "PPid"); got != fmt.Sprint(os.Getpid()) {
		t.Errorf("parent %s, want %d", got, os.Getpid())
	}
	wantSmall(t, h)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.Pid()))
	if err != nil || len(fds) != 6 {
		t.Errorf("%d descriptors, %v, want 0, 1, 2, the two sockets and the parent's pidfd", len(fds), err)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", h.Pid()))
	if err != nil || strings.Contains(string(env), "RAWFORK_HELPER") {
		t.Errorf("the mark is in the helper's environment, or %v", err)
	}
}

// wantSmall fails the test unless the helper has less than 2 MB beyond the pages of
// the image, and one page that it shares with its parent.
func wantSmall(t *testing.T, h *helper.Helper) {
	t.Helper()
	for field, most := range map[string]int{"RssAnon": 2048, "RssShmem": os.Getpagesize() >> 10} { // kB
		kB, err := strconv.Atoi(strings.TrimSuffix(status(t, h.Pid(), field), " kB"))
		if err != nil || kB > most {
			t.Errorf("%s %d kB, %v, want at most %d", field, kB, err, most)
		}
	}
}

// What a terminal sends to the whole group doesn't reach the helper.
func TestHelperOutlivesCtrlC(t *testing.T) {
	h := start(t, helper.Options{})
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGTSTP, syscall.SIGPIPE} {
		if err := syscall.Kill(h.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	// The helper has all signals blocked, its children have the program's mask. That
	// is read by a thread of its own: the runtime blocks all in another for moments.
	var mask unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &mask); err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf("%016x", mask.Val[0])}
	if diff := cmp.Diff(want, lines(run(t, h, "describe"), "mask")); diff != "" {
		t.Errorf("the child's signal mask (-want +got):\n%s", diff)
	}
	process, err := h.Go("signals")
	if err != nil {
		t.Fatal(err)
	}
	wantExit(t, process, 0)
}

func TestHelperKilled(t *testing.T) {
	h := start(t, helper.Options{Ready: 3})
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	process, err := h.Go("wait", read)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(h.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		var other *os.Process
		if other, err = h.Go("null"); err == nil { // it was still there
			wantExit(t, other, 0)
		}
	}
	if !errors.Is(err, helper.ErrEnded) {
		t.Errorf("after SIGKILL: %v, want %v", err, helper.ErrEnded)
	}
	h.Close()
	again := start(t, helper.Options{})
	other, err := again.Go("null")
	if err != nil {
		t.Fatal(err)
	}
	wantExit(t, other, 0)
	write.Close() // the child of the first helper lives until then
	wantExit(t, process, 0)
}

// A helper that is killed while it forks leaves no child that nobody knows of, neither a
// waiting one nor one with a task.
func TestHelperKilledWhileItForks(t *testing.T) {
	for round := range 6 {
		h := start(t, helper.Options{Ready: 3})
		var group sync.WaitGroup
		if round%2 == 1 {
			group.Go(func() {
				for {
					process, err := h.Go("null")
					if err != nil {
						return
					}
					process.Wait() // or it was killed ahead of its function
				}
			})
		}
		if err := syscall.Kill(h.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		h.Close()
		children, err := ps.Children(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int(nil), children); diff != "" {
			t.Errorf("children (-want +got):\n%s", diff)
		}
	}
}

// Who cleans up behind a helper that was killed takes no other child for one of its, such
// as that of another helper, which bears the same name.
func TestHelperKilledBesideNamesake(t *testing.T) {
	image, err := os.ReadFile(forktest.PauseProgram(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rawfork-helper")
	if err := os.WriteFile(path, image, 0o755); err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	pid, err := rawfork.ByVfork.ForkExec(path, nil, &syscall.ProcAttr{Files: []uintptr{0, write.Fd(), 2}})
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	read.Read(make([]byte, 1)) // it is ready
	h := start(t, helper.Options{Ready: 1})
	if err := syscall.Kill(h.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.Close() // ends when all that was the helper's is reaped
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	forktest.WantSignal(t, pid, syscall.SIGKILL)
}

// Children that die while they wait are replaced.
func TestWaitingChildDies(t *testing.T) {
	h := start(t, helper.Options{Ready: 2})
	for range 5 {
		// The helper makes up for missing children before it serves a request, so
		// behind one there are some that wait.
		process, err := h.Go("exit")
		if err != nil {
			t.Fatal(err)
		}
		wantExit(t, process, 9)
		killed := 0
		for _, pid := range living(t, os.Getpid()) {
			if pid != h.Pid() {
				kill(t, pid)
				killed++
			}
		}
		if killed == 0 {
			t.Fatal("no child waits")
		}
	}
	process, err := h.Go("exit")
	if err != nil {
		t.Fatal(err)
	}
	wantExit(t, process, 9)
}

// A waiting child that somebody has stopped takes no task that is larger than its
// socket's buffer. Another does.
func TestWaitingChildIsStopped(t *testing.T) {
	h := start(t, helper.Options{Ready: 1})
	if err := h.WaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	stopped := slices.DeleteFunc(living(t, os.Getpid()), func(pid int) bool { return pid == h.Pid() })
	if len(stopped) != 1 {
		t.Fatalf("children that wait: %v, want one", stopped)
	}
	if err := syscall.Kill(stopped[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HELPER_TEST", strings.Repeat("x", 1<<20))
	process, err := h.Go("exit")
	if err != nil {
		t.Fatal(err)
	}
	if process.Pid == stopped[0] {
		t.Error("the child that is stopped was given the task")
	}
	wantExit(t, process, 9)
}

// WaitReady waits for all ready children, also for those that replace others.
func TestWaitReady(t *testing.T) {
	h := start(t, helper.Options{Ready: 3})
	for range 2 {
		if err := h.WaitReady(context.Background()); err != nil {
			t.Fatal(err)
		}
		waiting := slices.DeleteFunc(living(t, os.Getpid()), func(pid int) bool { return pid == h.Pid() })
		if diff := cmp.Diff(3, len(waiting)); diff != "" {
			t.Errorf("waiting children (-want +got):\n%s", diff)
		}
		process, err := h.Go("exit")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(waiting, process.Pid) {
			t.Errorf("child %d had to boot, although %v were ready", process.Pid, waiting)
		}
		wantExit(t, process, 9)
	}
	h.Close()
	if err := h.WaitReady(context.Background()); !errors.Is(err, helper.ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, helper.ErrClosed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := helper.NeverReady().WaitReady(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v, want %v", err, context.Canceled)
	}
	if err := start(t, helper.Options{}).WaitReady(ctx); err != nil {
		t.Errorf("without ready children: %v", err)
	}
}

// kill kills a process and waits until it is dead, but doesn't reap it.
func kill(t testing.TB, pid int) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(forktest.Watchdog/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatalf("process %d doesn't die: %v", pid, err)
		}
		return
	}
}

// living lists the children of a process that have not ended.
func living(t testing.TB, parent int) []int {
	t.Helper()
	pids, err := ps.Children(parent)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(pids, func(pid int) bool {
		state, err := ps.State(pid)
		return err != nil || state == 'Z'
	})
}

// parentHelper is a program with a helper: it prints the pids of the helper, of a
// running child and of the waiting ones, and waits to be killed.
func parentHelper() {
	h, err := helper.Start(helper.Options{Ready: 2, EndWithParent: os.Args[1] == "end"})
	if err != nil {
		fmt.Println(err)
		return
	}
	read, write, _ := os.Pipe()
	defer write.Close()
	process, err := h.Go("wait", read)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Pid(), process.Pid)
	io.Copy(io.Discard, os.Stdin)
}

// Close ends running children only where they were to end with the program.
func TestCloseWithRunningChildren(t *testing.T) {
	for _, ready := range []int{0, 1} {
		for _, end := range []bool{false, true} {
			h := start(t, helper.Options{Ready: ready, EndWithParent: end})
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			process, err := h.Go("wait", read)
			read.Close()
			if err != nil {
				t.Fatal(err)
			}
			h.Close()
			if end {
				forktest.WantSignal(t, process.Pid, syscall.SIGKILL)
				write.Close()
			} else {
				write.Close() // the child lives until then
				forktest.WantExit(t, process.Pid, 0)
			}
			process.Release()
		}
	}
}

// Calls that Close overtakes are served or return ErrClosed, and leave nothing.
func TestCloseUnderCalls(t *testing.T) {
	h := start(t, helper.Options{Ready: 1})
	var group sync.WaitGroup
	first := make(chan struct{}, 8)
	for range cap(first) {
		group.Go(func() {
			for n := 0; ; n++ {
				process, err := h.Go("null")
				if n == 0 {
					first <- struct{}{}
				}
				if err != nil {
					if !errors.Is(err, helper.ErrClosed) {
						t.Errorf("%v, want %v", err, helper.ErrClosed)
					}
					return
				}
				wantExit(t, process, 0)
			}
		})
	}
	<-first // the others are under way, or about to be
	h.Close()
	group.Wait()
}

// When the program is killed, nothing of its helper is left; running children end
// or live on as was asked for.
func TestParentKilled(t *testing.T) {
	for _, mode := range []string{"end", "live"} {
		t.Run(mode, func(t *testing.T) {
			cmd := forktest.Command(t, "parent", mode)
			stdin, _ := cmd.StdinPipe()
			defer stdin.Close()
			stdout, _ := cmd.StdoutPipe()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(stdout).ReadString('\n')
			var helperPid, childPid int
			if _, err := fmt.Sscan(line, &helperPid, &childPid); err != nil {
				cmd.Process.Kill()
				cmd.Wait()
				t.Fatalf("%q: %v", line, err)
			}
			family := living(t, cmd.Process.Pid)
			cmd.Process.Kill()
			cmd.Wait()
			// All are ours to reap now: the test is a subreaper. A running child lives
			// until the pipe ends, and its writing end ended with the program.
			forktest.WantExit(t, helperPid, 0)
			if mode == "end" {
				if status := forktest.Wait(t, childPid); !status.Signaled() && status.ExitStatus() != 0 {
					t.Errorf("the running child: %s", forktest.Describe(status))
				}
			} else {
				forktest.WantExit(t, childPid, 0)
			}
			for _, pid := range family {
				if pid != helperPid && pid != childPid {
					forktest.Wait(t, pid)
				}
			}
			reapRest(t)
		})
	}
}

// reapRest reaps children that were made after the family was listed.
func reapRest(t testing.TB) {
	for {
		var info unix.Siginfo
		if unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil) != nil {
			return
		}
		children, err := ps.Children(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range children {
			forktest.Wait(t, pid)
		}
	}
}

// A helper that has no descriptor left, or may not fork, fails the one call.
func TestHelperAtItsLimits(t *testing.T) {
	out, err := forktest.Command(t, "limits").CombinedOutput()
	want := `descriptors: go EMFILE, exec EMFILE; afterwards: go 7, exec 0
processes: go EAGAIN, exec EAGAIN; afterwards: go 7, exec 0
own limit on processes: exec EAGAIN; afterwards: go 7, exec 0
`
	if diff := cmp.Diff(want, string(out)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// limitsHelper is a program of an ordinary user, whose helper comes to its limits.
func limitsHelper() {
	const nobodyElse = 54321 // a user that no other process runs as
	if os.Getuid() == 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobodyElse), syscall.Setuid(nobodyElse)); err != nil {
			fmt.Println(err)
			return
		}
	}
	h, err := helper.Start(helper.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	goChild := func() string {
		process, err := h.Go("run", os.Stdin, os.Stdin, os.Stdin)
		if err != nil {
			return errnoName(err)
		}
		state, err := process.Wait()
		if err != nil {
			return errnoName(err)
		}
		return fmt.Sprint(state.ExitCode())
	}
	exec := func() string {
		pid, err := h.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
		if err != nil {
			return errnoName(err)
		}
		status, err := rawfork.Wait(pid)
		if err != nil {
			return errnoName(err)
		}
		return fmt.Sprint(status.ExitStatus())
	}
	afterwards := func() { fmt.Printf("; afterwards: go %s, exec %s\n", goChild(), exec()) }
	limit := func(pid, resource int, cur uint64) (old unix.Rlimit) {
		if err := unix.Prlimit(pid, resource, nil, &old); err != nil {
			fmt.Println(err)
		}
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: cur, Max: old.Max}, nil); err != nil {
			fmt.Println(err)
		}
		return old
	}
	old := limit(h.Pid(), unix.RLIMIT_NOFILE, 5)
	fmt.Printf("descriptors: go %s, exec %s", goChild(), exec())
	limit(h.Pid(), unix.RLIMIT_NOFILE, old.Cur)
	afterwards()
	old = limit(h.Pid(), unix.RLIMIT_NPROC, 1)
	fmt.Printf("processes: go %s, exec %s", goChild(), exec())
	limit(h.Pid(), unix.RLIMIT_NPROC, old.Cur)
	afterwards()
	makeThreads(8)
	limit(0, unix.RLIMIT_NPROC, 1)
	fmt.Printf("own limit on processes: exec %s", exec())
	limit(0, unix.RLIMIT_NPROC, old.Cur)
	afterwards()
}

// More ready children than the program's soft limit on descriptors are no harm: the
// helper has a higher limit, its children have the program's. Where the hard limit is
// too low, no helper is started.
func TestReadyAboveSoftLimit(t *testing.T) {
	out, err := forktest.Command(t, "nofile").CombinedOutput()
	want := `count 3
count 3
count 3
soft limit of a Go child: 24
soft limit of a program: 24
a program's 6 files: 0 1 2 3 4 5
a program's 25 files: EBADF
above the hard limit: EMFILE
`
	if diff := cmp.Diff(want, string(out)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// nofile is a program with a soft limit of 24 descriptors and 22 ready children, for
// which the helper needs 27.
func nofile() {
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 24, Max: 400}); err != nil {
		fmt.Println(err)
		return
	}
	h, err := helper.Start(helper.Options{Ready: 22})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		process, err := h.Go("count", os.Stdin, os.Stdin, os.Stdin)
		if err != nil {
			fmt.Println(err)
			return
		}
		state, err := process.Wait()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("count", state.ExitCode())
	}
	fmt.Print("soft limit of a Go child: ")
	process, err := h.Go("nofile", os.Stdout)
	if err != nil {
		fmt.Println(err)
		return
	}
	process.Wait()
	fmt.Print("soft limit of a program: ")
	pid, err := h.ForkExec("/bin/sh", []string{"sh", "-c", "ulimit -S -n"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err != nil {
		fmt.Println(err)
		return
	}
	rawfork.Wait(pid)
	fmt.Print("a program's 6 files:")
	files := []uintptr{0, 1, 2, 0, 1, 2}
	pid, err = h.ForkExec("/bin/sh", []string{"sh", "-c", "for f in 0 1 2 3 4 5 6; do [ -e /dev/fd/$f ] && printf ' %s' $f; done; echo"}, &syscall.ProcAttr{Files: files})
	if err != nil {
		fmt.Println("", err)
	} else {
		rawfork.Wait(pid)
	}
	_, err = h.ForkExec("/bin/true", nil, &syscall.ProcAttr{Files: make([]uintptr, 25)})
	fmt.Println("a program's 25 files:", errnoName(err))
	h.Close()
	_, err = helper.Start(helper.Options{Ready: 101})
	fmt.Println("above the hard limit:", errnoName(err))
}

// A helper whose control group is full fails the one call.
func TestHelperInFullCgroup(t *testing.T) {
	dir := forktest.PidsCgroup(t)
	h := start(t, helper.Options{}) // closed before the group is removed
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	write("cgroup.procs", strconv.Itoa(h.Pid()))
	write("pids.max", "1") // the helper itself
	for range 3 {
		if _, err := h.Go("exit"); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("Go with pids.max 1: %v, want EAGAIN", err)
		}
	}
	write("pids.max", "max")
	process, err := h.Go("exit")
	if err != nil {
		t.Fatal("afterwards:", err)
	}
	wantExit(t, process, 9)
}

// makeThreads leaves n threads to the runtime, which can't make one at the limit.
func makeThreads(n int) {
	var all, group sync.WaitGroup
	all.Add(n)
	for range n {
		group.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	group.Wait()
}

func errnoName(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprint(err)
}

// replaced is a program whose file is replaced while it runs.
func replaced() {
	h, err := helper.Start(helper.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	path, _ := os.Readlink("/proc/self/exe")
	if err := os.Remove(path); err != nil {
		fmt.Println(err)
		return
	}
	os.WriteFile(path, []byte("#!/bin/false\n"), 0o755)
	process, err := h.Go("exit")
	if err != nil {
		fmt.Println(err)
		return
	}
	state, _ := process.Wait()
	fmt.Print(state.ExitCode())
}

func TestImageReplaced(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := forktest.Command(t, "replaced")
	cmd.Path, cmd.Args[0] = path, path
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "9" {
		t.Errorf("%v: %s, want the old image's 9", err, out)
	}
}

// noInit runs as a program that hasn't called Init; TestMain has, so this one
// starts a program that hasn't.
func noInit() {
	if _, err := helper.Start(helper.Options{}); !errors.Is(err, helper.ErrNoInit) {
		fmt.Printf("Start: %v, want %v", err, helper.ErrNoInit)
		return
	}
	fmt.Print("ok")
}

// The mark alone gives nobody anything.
func TestMarkByHand(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer theirs.Close()
	nonce := strings.Repeat("00", 16)
	for _, test := range []struct {
		what, mark string
		files      []*os.File
		close      bool
	}{
		{what: "empty", mark: ""},
		{what: "no number", mark: "x:" + nonce},
		{what: "no nonce", mark: "3:"},
		{what: "a long nonce", mark: "3:" + nonce + "00"},
		{what: "a bad nonce", mark: "3:" + strings.Repeat("zz", 16)},
		{what: "no descriptor", mark: "3:" + nonce},
		{what: "standard input", mark: "0:" + nonce},
		{what: "a file", mark: "3:" + nonce, files: []*os.File{os.Stdin}},
		{what: "a socket that says nothing", mark: "3:" + nonce, files: []*os.File{theirs}, close: true},
	} {
		cmd := forktest.Command(t, "byhand")
		cmd.Env = append(cmd.Env, "RAWFORK_HELPER="+test.mark)
		cmd.ExtraFiles = test.files
		if test.close {
			ours.Close()
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.HasPrefix(string(out), "rawfork helper: RAWFORK_HELPER is set") {
			t.Errorf("%s: %v: %s, want exit status 2 with a message", test.what, err, out)
		}
	}
}
