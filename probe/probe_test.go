//go:build linux && cgo && (amd64 || arm64)

package probe_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/probe"
)

// fork forks a probe that is closed with the test.
func fork(t testing.TB) *probe.Probe {
	t.Helper()
	p, err := probe.Fork()
	check(t, err)
	t.Cleanup(func() { check(t, p.Close()) })
	return p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

var global = [3]int{1, 2, 3}

func TestMemoryIsACopy(t *testing.T) {
	heap := 1
	p := fork(t)
	heap, global[1] = 10, 20
	got, err := probe.Load(p, &heap)
	check(t, err)
	equal(t, "the child's copy of heap", got, 1)
	gotGlobal, err := probe.Load(p, &global)
	check(t, err)
	equal(t, "the child's copy of global", gotGlobal, [3]int{1, 2, 3})
	check(t, probe.Store(p, &heap, 5))
	got, err = probe.Load(p, &heap)
	check(t, err)
	equal(t, "the child's copy, stored", got, 5)
	equal(t, "the parent's heap", heap, 10)
	global[1] = 2
}

func TestPid(t *testing.T) {
	p := fork(t)
	pid, err := p.Getpid()
	check(t, err)
	equal(t, "pid", pid, p.Pid())
	ppid, err := p.Getppid()
	check(t, err)
	equal(t, "ppid", ppid, os.Getpid())
}

func TestBadAddress(t *testing.T) {
	p := fork(t)
	addr, err := p.Mmap(4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1)
	check(t, err)
	wantErr(t, "poke a read-only page", p.Poke(addr, []byte{1}), unix.EFAULT)
	for _, addr := range []uintptr{0, 8, 1 << 46, 1 << 63, ^uintptr(0)} {
		_, err := p.Peek(addr, 1)
		wantErr(t, "peek", err, unix.EFAULT)
		wantErr(t, "poke", p.Poke(addr, []byte{1}), unix.EFAULT)
	}
	_, err = p.Getpid()
	check(t, err)
}

func TestSyscallMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, []byte("hello"), 0o600))
	p := fork(t)
	fd, err := p.Open(path, unix.O_RDWR, 0)
	check(t, err)
	buf := make([]byte, 3)
	n, err := p.Read(fd, buf)
	check(t, err)
	equal(t, "read", string(buf[:n]), "hel")
	n, err = p.Write(fd, []byte("p!"))
	check(t, err)
	equal(t, "written", n, 2)
	data, err := os.ReadFile(path)
	check(t, err)
	equal(t, "file", string(data), "help!")
	_, err = p.Open("/nonexistent", unix.O_RDONLY, 0)
	wantErr(t, "open", err, unix.ENOENT)
}

func TestGrandchildren(t *testing.T) {
	x := 1
	p := fork(t)
	check(t, probe.Store(p, &x, 2))
	g, err := p.Fork()
	check(t, err)
	gg, err := g.Fork()
	check(t, err)
	check(t, probe.Store(p, &x, 3))
	got, err := probe.Load(gg, &x)
	check(t, err)
	equal(t, "x of the great-grandchild", got, 2)
	ppid, err := gg.Getppid()
	check(t, err)
	equal(t, "ppid", ppid, g.Pid())
	check(t, gg.Exit(9))
	status, err := gg.Wait()
	check(t, err)
	equal(t, "status", status.ExitStatus(), 9)
}

func TestDeath(t *testing.T) {
	var dead *probe.DeadError
	p := fork(t)
	check(t, p.Exit(7))
	_, err := p.Getpid()
	if !errors.As(err, &dead) || !dead.Known || dead.Status.ExitStatus() != 7 {
		t.Errorf("a call to a child that exited: %v", err)
	}
	status, err := p.Wait()
	check(t, err)
	equal(t, "status", status.ExitStatus(), 7)

	p = fork(t)
	err = p.Raise(syscall.SIGKILL)
	if !errors.As(err, &dead) || !dead.Known || dead.Status.Signal() != syscall.SIGKILL {
		t.Errorf("raise: %v", err)
	}
	t.Log(err)
	g, err := fork(t).Fork()
	check(t, err)
	err = g.Raise(syscall.SIGTERM)
	if !errors.As(err, &dead) || !dead.Known || dead.Status.Signal() != syscall.SIGTERM {
		t.Errorf("raise in a grandchild: %v", err)
	}
}

func TestHandler(t *testing.T) {
	p := fork(t)
	old, err := p.Sigaction(unix.SIGUSR1, &probe.Action{Handler: probe.Count})
	check(t, err)
	equal(t, "old", old.Handler, probe.Default)
	check(t, p.Raise(unix.SIGUSR1))
	g, err := p.Fork()
	check(t, err)
	check(t, g.Raise(unix.SIGUSR1))
	check(t, g.Raise(unix.SIGUSR1))
	for _, c := range []struct {
		who  string
		p    *probe.Probe
		want int
	}{{"child", p, 1}, {"grandchild", g, 3}} {
		n, err := c.p.Handled(unix.SIGUSR1)
		check(t, err)
		equal(t, c.who, n, c.want)
		now, err := c.p.Sigaction(unix.SIGUSR1, nil)
		check(t, err)
		equal(t, c.who, now.Handler, probe.Count)
	}
}

func TestTimeoutAndBlockedCalls(t *testing.T) {
	p := fork(t)
	_, err := p.Sigaction(unix.SIGUSR1, &probe.Action{Handler: probe.Count})
	check(t, err)
	call := p.Start(unix.SYS_PPOLL, nil, 0, nil, nil, 0)
	check(t, call.Blocked())
	p.SetTimeout(10 * time.Millisecond)
	_, err = call.Wait()
	wantErr(t, "wait", err, os.ErrDeadlineExceeded)
	_, err = p.Getpid()
	wantErr(t, "getpid", err, os.ErrDeadlineExceeded)
	p.SetTimeout(0)
	check(t, p.Kill(unix.SIGUSR1))
	_, err = call.Wait()
	wantErr(t, "ppoll", err, unix.EINTR)
	pid, err := p.Getpid()
	check(t, err)
	equal(t, "pid", pid, p.Pid())
	if err := p.Start(unix.SYS_GETPID).Blocked(); err == nil {
		t.Error("getpid is told to block")
	}
}

func TestExec(t *testing.T) {
	p := fork(t)
	wantErr(t, "exec", p.Exec("/nonexistent", []string{"x"}, nil), unix.ENOENT)
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	q := fork(t)
	_, err = q.Dup3(int(w.Fd()), 1, 0)
	check(t, err)
	check(t, w.Close())
	check(t, q.Exec("/bin/sh", []string{"sh", "-c", "echo $A $1; exit 3", "sh", "arg"}, []string{"A=env"}))
	status, err := q.Wait()
	check(t, err)
	equal(t, "status", status.ExitStatus(), 3)
	out := make([]byte, 100)
	n, err := r.Read(out)
	check(t, err)
	equal(t, "output", string(out[:n]), "env arg\n")
	_, err = q.Getpid()
	if err == nil {
		t.Error("a call after exec succeeded")
	}
	t.Log(err)
}

func TestClone(t *testing.T) {
	p := fork(t)
	for _, c := range []struct {
		name  string
		flags uint64
	}{
		{"SIGCHLD", uint64(unix.SIGCHLD)},
		{"no signal", 0},
		{"CLONE_FILES", unix.CLONE_FILES | uint64(unix.SIGCHLD)},
		{"CLONE_FS", unix.CLONE_FS | uint64(unix.SIGCHLD)},
		{"CLONE_PARENT", unix.CLONE_PARENT | uint64(unix.SIGCHLD)},
		{"CLONE_CLEAR_SIGHAND", unix.CLONE_CLEAR_SIGHAND | uint64(unix.SIGCHLD)},
		{"CLONE_VFORK", unix.CLONE_VFORK | uint64(unix.SIGCHLD)},
		{"CLONE_NEWPID", unix.CLONE_NEWPID | uint64(unix.SIGCHLD)},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := p.Clone(c.flags)
			check(t, err)
			_, err = g.Getpid()
			check(t, err)
			check(t, g.Exit(4))
			status, err := g.Wait()
			check(t, err)
			equal(t, "status", status.ExitStatus(), 4)
			check(t, g.Close())
			_, err = p.Getpid()
			check(t, err)
		})
	}
	_, err := p.Clone(unix.CLONE_VM)
	wantErr(t, "CLONE_VM", err, unix.EINVAL)
}
