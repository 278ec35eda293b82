//go:build linux && cgo && (amd64 || arm64)

package probe_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/probe"
	"rawfork/procstate"
)

// The two sides of a fork, read from /proc, differ in what fork(2) says and in
// no descriptor: those of the probe are left out.
func TestState(t *testing.T) {
	_, err := probe.Self() // has the Go runtime make its poller, if it had none
	check(t, err)
	p := fork(t)
	self, err := probe.Self()
	check(t, err)
	state, err := p.State()
	check(t, err)
	equal(t, "pid", state.PID, p.Pid())
	equal(t, "ppid", state.PPID, os.Getpid())
	equal(t, "threads", len(state.Threads), 1)
	for _, c := range procstate.Changes(&procstate.State{Descriptors: self.Descriptors},
		&procstate.State{Descriptors: state.Descriptors}, "Descriptors[].Offset") {
		t.Errorf("descriptors of parent and child differ: %v", c)
	}
	_, err = p.Umask(0o031)
	check(t, err)
	g, err := p.Fork()
	check(t, err)
	state, err = g.State()
	check(t, err)
	equal(t, "umask of the grandchild", state.Umask, procstate.Umask(0o031))
	for fd := range state.Descriptors {
		if fd >= 512 {
			t.Errorf("the grandchild has descriptor %d of the probe: %+v", fd, state.Descriptors[fd])
		}
	}
	call := p.Start(unix.SYS_PPOLL, nil, 0, nil, nil, 0)
	check(t, call.Blocked())
	_, err = p.State()
	check(t, err)

	check(t, g.Kill(unix.SIGKILL))
	check(t, p.Kill(unix.SIGKILL))
	if _, err := call.Wait(); err == nil {
		t.Error("a call to a child that was killed succeeded")
	}
	state, err = p.State()
	check(t, err)
	equal(t, "state of a zombie", state.Run, "Z")
	_, err = p.Wait()
	check(t, err)
	_, err = p.State()
	wantErr(t, "state of a child that was reaped", err, unix.ESRCH)
	wantErr(t, "state of a child that was reaped", err, os.ErrProcessDone)
	check(t, p.Close())
	_, err = p.State()
	wantErr(t, "state of a closed probe", err, os.ErrClosed)
}

// Epoll instances are the child's, and its alone to set up here.
func TestEpoll(t *testing.T) {
	p := fork(t)
	r, w, err := p.Pipe2(unix.O_CLOEXEC)
	check(t, err)
	ep, err := p.EpollCreate1(unix.EPOLL_CLOEXEC)
	check(t, err)
	check(t, p.EpollCtl(ep, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 77}))
	events := make([]unix.EpollEvent, 3)
	n, err := p.EpollWait(ep, events, 0)
	check(t, err)
	equal(t, "events of an empty pipe", n, 0)
	_, err = p.Write(w, []byte("x"))
	check(t, err)
	n, err = p.EpollWait(ep, events, -1)
	check(t, err)
	equal(t, "events", events[:n], []unix.EpollEvent{{Events: unix.EPOLLIN, Fd: 77}})
	check(t, p.EpollCtl(ep, unix.EPOLL_CTL_DEL, r, nil))
	n, err = p.EpollWait(ep, events, 0)
	check(t, err)
	equal(t, "events when there is nothing to wait for", n, 0)
}

// A structure that points to another is built in the child: here an iovec.
func TestPlace(t *testing.T) {
	p := fork(t)
	r, w, err := p.Pipe2(0)
	check(t, err)
	text, err := p.Place([]byte("by a pointer"))
	check(t, err)
	n, err := p.Syscall(unix.SYS_WRITEV, w, &struct{ base, len uintptr }{text, 12}, 1)
	check(t, err)
	equal(t, "written", n, uintptr(12))
	got := make([]byte, 20)
	n2, err := p.Read(r, got)
	check(t, err)
	equal(t, "read", string(got[:n2]), "by a pointer")
	empty, err := p.Place(nil)
	check(t, err)
	check(t, p.Munmap(empty, os.Getpagesize()))
}

// A signal is pending for the process or for its thread, and /proc tells which.
func TestRaisePending(t *testing.T) {
	p := fork(t)
	_, err := p.Sigprocmask(unix.SIG_BLOCK, probe.Mask(unix.SIGUSR1, unix.SIGUSR2))
	check(t, err)
	check(t, p.Raise(unix.SIGUSR1))
	check(t, p.RaiseThread(unix.SIGUSR2))
	pending, err := p.Sigpending()
	check(t, err)
	equal(t, "pending", pending, probe.Mask(unix.SIGUSR1, unix.SIGUSR2))
	state, err := p.State()
	check(t, err)
	equal(t, "for the process", uint64(state.ProcessPending), probe.Mask(unix.SIGUSR1))
	equal(t, "for the thread", uint64(state.Pending), probe.Mask(unix.SIGUSR2))
}

func TestWaitid(t *testing.T) {
	p := fork(t)
	g, err := p.Fork()
	check(t, err)
	info, err := p.Waitid(unix.P_PID, g.Pid(), unix.WEXITED|unix.WNOHANG)
	check(t, err)
	equal(t, "of a child that lives", info, probe.Siginfo{})
	check(t, g.Kill(unix.SIGSTOP))
	want := probe.Siginfo{Signal: unix.SIGCHLD, Pid: g.Pid(), UID: os.Getuid()}
	for _, step := range []struct {
		name         string
		sig          unix.Signal
		options      int
		code, status int
	}{
		{"stopped", unix.SIGSTOP, unix.WSTOPPED, probe.CldStopped, int(unix.SIGSTOP)},
		{"continued", unix.SIGCONT, unix.WCONTINUED, probe.CldContinued, int(unix.SIGCONT)},
		{"killed", unix.SIGKILL, unix.WEXITED, probe.CldKilled, int(unix.SIGKILL)},
	} {
		check(t, g.Kill(step.sig))
		info, err = p.Waitid(unix.P_PID, g.Pid(), step.options|unix.WNOWAIT)
		check(t, err)
		want.Code, want.Status = step.code, step.status
		equal(t, step.name, info, want)
	}
	status, err := g.Wait()
	check(t, err)
	equal(t, "signal", status.Signal(), unix.SIGKILL)
	_, err = p.Waitid(unix.P_ALL, 0, unix.WEXITED)
	wantErr(t, "waitid without a child", err, unix.ECHILD)
}

// want checks what a wrapper returned.
func want[V any](t testing.TB, what string, want V) func(got V, err error) {
	return func(got V, err error) {
		t.Helper()
		check(t, err)
		equal(t, what, got, want)
	}
}

func TestProcessWrappers(t *testing.T) {
	p := fork(t)
	want(t, "process group of a new child", unix.Getpgrp())(p.Getpgid())
	check(t, p.Setpgid(0, 0))
	want(t, "process group of its own", p.Pid())(p.Getpgid())
	g, err := p.Fork()
	check(t, err)
	if g.Parent() != p || p.Parent() != nil {
		t.Errorf("parents: %v, %v", g.Parent(), p.Parent())
	}
	want(t, "session", g.Pid())(g.Setsid())
	want(t, "session", g.Pid())(g.Getsid())
	_, err = p.Setsid()
	wantErr(t, "setsid of a group's leader", err, unix.EPERM)
	check(t, p.Chdir("/proc"))
	want(t, "directory", "/proc")(p.Getcwd())
	wantErr(t, "chdir", p.Chdir("/nonexistent"), unix.ENOENT)

	check(t, g.Exit(6))
	pid, status, err := p.Wait4(-1, 0)
	check(t, err)
	equal(t, "waited for", [2]int{pid, status.ExitStatus()}, [2]int{g.Pid(), 6})

	want(t, "parent-death signal, set", 0)(p.Prctl(unix.PR_SET_PDEATHSIG, unix.SIGURG))
	var sig int32
	want(t, "parent-death signal, asked for", 0)(p.Prctl(unix.PR_GET_PDEATHSIG, &sig))
	equal(t, "parent-death signal", unix.Signal(sig), unix.SIGURG)
}

func TestDescriptorWrappers(t *testing.T) {
	p := fork(t)
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, []byte("abcdef"), 0o600))
	fd, err := p.Open(path, unix.O_RDWR, 0)
	check(t, err)
	again, err := p.Open(path, unix.O_RDONLY, 0)
	check(t, err)
	copied, err := p.Dup(fd)
	check(t, err)
	want(t, "offset", int64(4))(p.Lseek(fd, -2, unix.SEEK_END))
	want(t, "offset of the copy", int64(4))(p.Lseek(copied, 0, unix.SEEK_CUR))
	want(t, "descriptor flags", 0)(p.Fcntl(fd, unix.F_GETFD, 0))
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET, Len: 3}
	want(t, "lock", 0)(p.Fcntl(fd, unix.F_SETLK, &lock))
	g, err := p.Fork()
	check(t, err)
	want(t, "whose lock", 0)(g.Fcntl(fd, unix.F_GETLK, &lock))
	equal(t, "whose lock", int(lock.Pid), p.Pid())
	check(t, p.Flock(fd, unix.LOCK_EX))
	wantErr(t, "flock of another description", g.Flock(again, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	r, w, err := p.Pipe2(0)
	check(t, err)
	want(t, "written", 3)(p.Write(w, []byte("xyz")))
	var waiting int32
	want(t, "ioctl", 0)(p.Ioctl(r, unix.TIOCINQ, &waiting))
	equal(t, "bytes in the pipe", waiting, int32(3))
	check(t, p.CloseFd(copied))
	wantErr(t, "close of a closed descriptor", p.CloseFd(copied), unix.EBADF)
}

func TestTimeWrappers(t *testing.T) {
	p := fork(t)
	timer := unix.Itimerval{Value: unix.Timeval{Sec: 1000}}
	want(t, "timer, set", unix.Itimerval{})(p.Setitimer(int(unix.ITIMER_REAL), timer))
	left, err := p.Getitimer(int(unix.ITIMER_REAL))
	check(t, err)
	if left.Value.Sec < 900 || left.Value.Sec > 1000 {
		t.Errorf("left of 1000 s: %v", left.Value)
	}
	boot, err := p.ClockGettime(unix.CLOCK_BOOTTIME)
	check(t, err)
	var ts unix.Timespec
	check(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts))
	if now := time.Duration(ts.Nano()); boot <= 0 || boot > now {
		t.Errorf("the child's time since boot is %v, after that the parent's %v", boot, now)
	}
	tms, err := p.Times()
	check(t, err)
	equal(t, "time of children before there were any", [2]int64{tms.Cutime, tms.Cstime}, [2]int64{})
	usage, err := p.Getrusage(unix.RUSAGE_SELF)
	check(t, err)
	if usage.Maxrss <= 0 {
		t.Errorf("largest resident set: %d kB", usage.Maxrss)
	}
}

func TestLimitAndMemoryWrappers(t *testing.T) {
	p := fork(t)
	limit, err := p.Getrlimit(unix.RLIMIT_CORE)
	check(t, err)
	limit.Cur = 0
	check(t, p.Setrlimit(unix.RLIMIT_CORE, limit))
	want(t, "limit", limit)(p.Getrlimit(unix.RLIMIT_CORE))

	addr, err := p.Place([]byte("x"))
	check(t, err)
	if err := p.Mlock(addr, 1); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOMEM) {
		check(t, err)
		state, err := p.State()
		check(t, err)
		for _, m := range state.Maps {
			if uintptr(m.Start) <= addr && addr < uintptr(m.End) {
				equal(t, "locked", m.Locked, uint64(os.Getpagesize()))
			}
		}
		_, err = p.Syscall(unix.SYS_MUNLOCK, addr, 1)
		check(t, err)
	}
	wantErr(t, "mlockall", p.Mlockall(0), unix.EINVAL)
	check(t, p.Madvise(addr, 1, unix.MADV_DONTNEED))
	want(t, "memory after MADV_DONTNEED", []byte{0})(p.Peek(addr, 1))

	id, err := p.Syscall(unix.SYS_SEMGET, unix.IPC_PRIVATE, 1, 0o600)
	check(t, err)
	check(t, p.Semop(int(id), []probe.Sembuf{{Op: 2}}))
	const getVal = 12
	want(t, "semaphore", uintptr(2))(p.Syscall(unix.SYS_SEMCTL, id, 0, getVal))
	_, err = p.Syscall(unix.SYS_SEMCTL, id, 0, unix.IPC_RMID)
	check(t, err)

	_, err = p.Syscall(unix.SYS_GETPID, unsafe.Pointer(t))
	wantErr(t, "an unsafe.Pointer for an argument", err, unix.EINVAL)
}

func TestDispositionsHaveNames(t *testing.T) {
	for d, want := range map[probe.Disposition]string{
		probe.Default: "default", probe.Ignore: "ignore", probe.Count: "count", 0x123: "handler at 0x123"} {
		equal(t, "name", d.String(), want)
	}
}
