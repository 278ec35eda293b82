//go:build cgo && (amd64 || arm64)

package child_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/child"
	"rawfork/internal/forktest"
)

//go:norace
func TestExit(t *testing.T) {
	for code, want := range map[int]int{0: 0, 1: 1, 7: 7, 255: 255, 256: 0, 257: 1, -1: 255} {
		pid := fork(t)
		if pid == 0 {
			child.Exit(code)
		}
		forktest.WantExit(t, pid, want)
	}
}

// A child of the child: its pid, its parent, libc's idea of its thread id, its
// status, and the guard, which still holds.
//
//go:norace
func TestFork(t *testing.T) {
	type results struct {
		Forked, Waited                num
		Self, Parent, Child           int
		Exited, Guarded               syscall.WaitStatus
		ForkedAgain, WaitedAgain      num
		WaitedNobody, WaitedNone, Bad num
		Running                       num
	}
	got := shared[results](t)
	r, w := pipe(t, 0)
	tr, tw := pipe(t, 0)
	kept, stop := pipe(t, 0)
	b := make([]byte, 1)
	tidAt := shared[uintptr](t)
	null := open(t, "/dev/null", unix.O_WRONLY)
	pid := fork(t)
	if pid == 0 {
		got.Child = child.Getpid()
		n, errno := child.Fork()
		if n == 0 {
			got.Self, got.Parent = child.Getpid(), child.Getppid()
			child.Prctl(unix.PR_GET_TID_ADDRESS, uintptr(unsafe.Pointer(tidAt)), 0, 0, 0)
			child.Syscall(unix.SYS_WRITE, uintptr(tw), *tidAt, 4, 0, 0, 0)
			child.WriteString(w, "x")
			child.Exit(9)
		}
		got.Forked = num{n, errno}
		got.Waited.N, got.Exited, got.Waited.Errno = child.Wait4(n, 0)

		n, errno = child.Fork()
		if n == 0 {
			child.Dup3(null, 2, 0) // no traceback on the test's screen
			sink = make([]byte, len(b)+n)
			child.Exit(0)
		}
		got.ForkedAgain = num{n, errno}
		got.WaitedAgain.N, got.Guarded, got.WaitedAgain.Errno = child.Wait4(n, 0)

		got.WaitedNone.N, _, got.WaitedNone.Errno = child.Wait4(-1, 0)
		got.WaitedNobody.N, _, got.WaitedNobody.Errno = child.Wait4(1<<30, 0)
		got.Bad.N, _, got.Bad.Errno = child.Wait4(-1, -1)
		n, _ = child.Fork()
		if n == 0 {
			child.Close(stop)
			child.Read(kept, b)
			child.Exit(0)
		}
		got.Running.N, _, got.Running.Errno = child.Wait4(n, unix.WNOHANG)
		child.Close(stop)
		child.Wait4(n, 0)
		child.Exit(0)
	}
	drop(stop) // the child of the child waits for both to close it
	forktest.WantExit(t, pid, 0)
	drop(w)
	if got := string(all(t, r)); got != "x" {
		t.Errorf("the grandchild wrote %q, want x", got)
	}
	drop(tw)
	tid := all(t, tr)
	if len(tid) != 4 || int(binary.NativeEndian.Uint32(tid)) != got.Self {
		t.Errorf("libc's thread id in the grandchild is % x, want %d", tid, got.Self)
	}
	want := results{
		Child: pid, Parent: pid, Self: got.Forked.N, Forked: num{got.Self, 0}, Waited: num{got.Self, 0},
		Exited: 9 << 8, Guarded: 2 << 8,
		ForkedAgain: num{got.ForkedAgain.N, 0}, WaitedAgain: num{got.ForkedAgain.N, 0},
		WaitedNobody: num{-1, syscall.ECHILD}, WaitedNone: num{-1, syscall.ECHILD}, Bad: num{-1, syscall.EINVAL},
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got.Self <= 0 || got.Self == pid {
		t.Errorf("grandchild's pid is %d, the child's %d", got.Self, pid)
	}
}

var sink []byte

// At the limit on processes Fork fails, and there is no grandchild.
//
//go:norace
func TestForkAtLimit(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Skip("becomes another user, which is for root")
	}
	got := shared[struct{ Limit, User, Fork, Wait num }](t)
	limit := &unix.Rlimit{}
	pid := fork(t)
	if pid == 0 {
		_, got.Limit.Errno = child.Syscall(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, uintptr(unsafe.Pointer(limit)), 0, 0, 0)
		got.User.Errno = becomeNobody()
		got.Fork.N, got.Fork.Errno = child.Fork()
		got.Wait.N, _, got.Wait.Errno = child.Wait4(-1, 0)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	want := struct{ Limit, User, Fork, Wait num }{Fork: num{-1, syscall.EAGAIN}, Wait: num{-1, syscall.ECHILD}}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

//go:norace
func TestSessionAndGroup(t *testing.T) {
	type results struct {
		Parent                               int
		Group, BadGroup, NoProcess, OfLeader syscall.Errno
		GroupID                              uintptr
		LeaderSetsid, Setsid, Again          num
	}
	got := shared[results](t)
	pid := fork(t)
	if pid == 0 {
		got.Parent = child.Getppid()
		got.BadGroup = child.Setpgid(0, -1)
		got.NoProcess = child.Setpgid(1<<30, 0)
		got.Group = child.Setpgid(0, 0)
		got.GroupID, _ = child.Syscall(unix.SYS_GETPGID, 0, 0, 0, 0, 0, 0)
		got.LeaderSetsid.N, got.LeaderSetsid.Errno = child.Setsid()
		n, _ := child.Fork()
		if n == 0 {
			got.Setsid.N, got.Setsid.Errno = child.Setsid()
			got.Setsid.N -= child.Getpid()
			got.Again.N, got.Again.Errno = child.Setsid()
			got.OfLeader = child.Setpgid(0, 0)
			child.Exit(0)
		}
		child.Wait4(n, 0)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	want := results{
		Parent: os.Getpid(), GroupID: uintptr(pid),
		BadGroup: syscall.EINVAL, NoProcess: syscall.ESRCH, OfLeader: syscall.EPERM,
		LeaderSetsid: num{-1, syscall.EPERM}, Again: num{-1, syscall.EPERM},
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

//go:norace
func TestKill(t *testing.T) {
	got := shared[struct{ Probe, NoProcess, BadSignal, User, Other syscall.Errno }](t)
	asRoot := unix.Geteuid() == 0
	pid := fork(t)
	if pid == 0 {
		got.Probe = child.Kill(child.Getpid(), 0)
		got.NoProcess = child.Kill(1<<30, 0)
		got.BadSignal = child.Kill(child.Getpid(), 99)
		if asRoot {
			got.User = becomeNobody()
		}
		got.Other = child.Kill(1, 0)
		child.Kill(child.Getpid(), syscall.SIGTERM)
		child.Exit(0)
	}
	forktest.WantSignal(t, pid, syscall.SIGTERM)
	want := struct{ Probe, NoProcess, BadSignal, User, Other syscall.Errno }{
		NoProcess: syscall.ESRCH, BadSignal: syscall.EINVAL, Other: syscall.EPERM}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

//go:norace
func TestPauseEndsBySignal(t *testing.T) {
	pid := fork(t)
	if pid == 0 {
		child.Pause()
		child.Exit(0)
	}
	waitInCall(t, pid, unix.SYS_PPOLL)
	stopAndContinue(t, pid)
	waitInCall(t, pid, unix.SYS_PPOLL)
	must(t, unix.Kill(pid, unix.SIGTERM))
	forktest.WantSignal(t, pid, syscall.SIGTERM)
}

// Sleep goes on for all of its time, although signals are handled and the child
// is stopped and continued. That it isn't shorter is all that is asserted.
//
//go:norace
func TestSleep(t *testing.T) {
	const d = 300 * time.Millisecond
	action, handled := counter(t)
	clock := shared[[2]unix.Timespec](t)
	pid := fork(t)
	if pid == 0 {
		handle(syscall.SIGUSR1, action)
		child.Sleep(-time.Hour)
		child.Sleep(0)
		child.Syscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&clock[0])), 0, 0, 0, 0)
		child.Sleep(d)
		child.Syscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&clock[1])), 0, 0, 0, 0)
		child.Exit(0)
	}
	waitUntil(t, pid, "asleep", func() bool { return clock[0] != unix.Timespec{} })
	waitInCall(t, pid, unix.SYS_NANOSLEEP)
	for n := uint64(1); n <= 5; n++ {
		must(t, unix.Kill(pid, unix.SIGUSR1))
		waitUntil(t, pid, "in its handler", func() bool { return *handled == n })
	}
	stopAndContinue(t, pid)
	forktest.WantExit(t, pid, 0)
	if slept := time.Duration(clock[1].Nano() - clock[0].Nano()); slept < d {
		t.Errorf("slept for %v, want at least %v", slept, d)
	}
}

//go:norace
func TestUmaskAndChdir(t *testing.T) {
	type results struct {
		First, Second                     int
		Chdir, Missing, File, Nil, Denied syscall.Errno
	}
	got := shared[results](t)
	cwd := mapped(t, 4096, unix.PROT_READ|unix.PROT_WRITE)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	secret := filepath.Join(dir, "secret")
	must(t, os.Mkdir(secret, 0o700))
	asRoot := unix.Geteuid() == 0
	if !asRoot {
		must(t, os.Chmod(secret, 0))
	}
	to, missing, file, denied := text(t, dir), text(t, dir+"/missing"), text(t, "/proc/self/status"), text(t, secret)
	before := unix.Umask(0o22)
	pid := fork(t)
	if pid == 0 {
		got.First, got.Second = child.Umask(0o77), child.Umask(0)
		got.Chdir = child.Chdir(to)
		child.Syscall(unix.SYS_GETCWD, uintptr(unsafe.Pointer(unsafe.SliceData(cwd))), 4096, 0, 0, 0, 0)
		got.Missing, got.File, got.Nil = child.Chdir(missing), child.Chdir(file), child.Chdir(nil)
		if asRoot {
			becomeNobody()
		}
		got.Denied = child.Chdir(denied)
		child.Exit(0)
	}
	after := unix.Umask(before)
	forktest.WantExit(t, pid, 0)
	want := results{First: 0o22, Second: 0o77, Missing: syscall.ENOENT, File: syscall.ENOTDIR, Nil: syscall.EFAULT, Denied: syscall.EACCES}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := unix.ByteSliceToString(cwd); got != dir {
		t.Errorf("the child's directory is %q, want %q", got, dir)
	}
	if after != 0o22 {
		t.Errorf("the parent's umask is %#o, want 022", after)
	}
}

//go:norace
func TestPrctlAndSyscall(t *testing.T) {
	type results struct {
		Set, Get, BadOption num
		Pid, Missing        uintptr
		MissingErrno        syscall.Errno
	}
	got := shared[results](t)
	name := text(t, "renamed")
	pid := fork(t)
	if pid == 0 {
		got.Set.N, got.Set.Errno = child.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
		child.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		got.Get.N, got.Get.Errno = child.Prctl(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		got.BadOption.N, got.BadOption.Errno = child.Prctl(1<<30, 0, 0, 0, 0)
		got.Pid, _ = child.Syscall(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
		got.Missing, got.MissingErrno = child.Syscall(1<<20, 0, 0, 0, 0, 0, 0)
		child.Pause()
		child.Exit(0)
	}
	waitInCall(t, pid, unix.SYS_PPOLL)
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	must(t, err)
	must(t, unix.Kill(pid, unix.SIGKILL))
	forktest.WantSignal(t, pid, syscall.SIGKILL)
	want := results{Get: num{1, 0}, BadOption: num{-1, syscall.EINVAL}, Pid: uintptr(pid), Missing: ^uintptr(0), MissingErrno: syscall.ENOSYS}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := strings.TrimSpace(string(comm)); got != "renamed" {
		t.Errorf("the child's name is %q, want renamed", got)
	}
}
