//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/helper"
	"rawfork/internal/forktest"
	"rawfork/internal/ps"
)

// inEveryMethod runs a test with each method.
func inEveryMethod(t *testing.T, test func(t *testing.T, m rawfork.Method)) {
	for _, m := range rawfork.Methods() {
		t.Run(m.String(), func(t *testing.T) {
			if m == rawfork.ByHelper {
				startHelper(t)
			}
			test(t, m)
		})
	}
}

// startHelper starts what ByHelper needs, until the test ends.
func startHelper(t *testing.T) *helper.Helper {
	t.Helper()
	h, err := helper.Start(helper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// ---- Success. ----

func TestForkExecRunsProgram(t *testing.T) {
	inEveryMethod(t, func(t *testing.T, m rawfork.Method) {
		r, w := pipe(t)
		pid, err := m.ForkExec("/bin/sh", []string{"sh", "-c", "echo $0 $A; pwd; exit 7", "zero"},
			&syscall.ProcAttr{Dir: "/usr", Env: []string{"A=1"}, Files: []uintptr{0, w.Fd(), 2}})
		if err != nil {
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, 7)
		if diff := cmp.Diff("zero 1\n/usr\n", output(t, r, w)); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
	})
}

// The function of the package is the method ByFork.
func TestForkExec(t *testing.T) {
	pid, err := rawfork.ForkExec(forktest.ExitProgram(t), []string{"x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, pid, 0)
	_, err = rawfork.ForkExec("/nope", nil, nil)
	if diff := cmp.Diff("fork/exec /nope: execve: no such file or directory", fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// No attributes, no arguments, no descriptors.
func TestForkExecOfNothing(t *testing.T) {
	program := forktest.ExitProgram(t)
	inEveryMethod(t, func(t *testing.T, m rawfork.Method) {
		for _, attr := range []*syscall.ProcAttr{nil, {}, {Sys: &syscall.SysProcAttr{}}} {
			for _, argv := range [][]string{nil, {}, {""}} {
				pid, err := m.ForkExec(program, argv, attr)
				if err != nil {
					t.Fatal(err)
				}
				forktest.WantExit(t, pid, 0)
			}
		}
	})
}

// A nil Env is the parent's environment, as it is now; an empty one is none. The
// deviation from syscall.ForkExec, whose nil is none, is what this test is for.
func TestForkExecEnv(t *testing.T) {
	t.Setenv("RAWFORK_TEST_ENV", "a\nb=c")
	start := func(t *testing.T, forkExec func(string, []string, *syscall.ProcAttr) (int, error), env []string) string {
		t.Helper()
		r, w := pipe(t)
		pid, err := forkExec(forktest.PauseProgram(t, 0), nil, &syscall.ProcAttr{Env: env, Files: []uintptr{w.Fd()}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			syscall.Kill(pid, syscall.SIGKILL)
			forktest.WantSignal(t, pid, syscall.SIGKILL)
		}()
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	parents := strings.Join(os.Environ(), "\x00") + "\x00"
	inEveryMethod(t, func(t *testing.T, m rawfork.Method) {
		for _, test := range []struct {
			env  []string
			want string
		}{{nil, parents}, {[]string{}, ""}, {[]string{"A=1"}, "A=1\x00"}} {
			if diff := cmp.Diff(test.want, start(t, m.ForkExec, test.env)); diff != "" {
				t.Errorf("environment of %#v (-want +got):\n%s", test.env, diff)
			}
		}
	})
	if got := start(t, syscall.ForkExec, nil); got != "" {
		t.Errorf("syscall.ForkExec with a nil Env gives %q: the deviation has gone", got)
	}
}

// Children start right under every load of the runtime.
func TestForkExecInEveryLoad(t *testing.T) {
	program := forktest.ExitProgram(t)
	inEveryLoad(t, func(t *testing.T) {
		startHelper(t)
		for _, m := range rawfork.Methods() {
			for range 5 {
				pid, err := m.ForkExec(program, []string{"x"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				forktest.WantExit(t, pid, 0)
			}
		}
	})
}

// Many goroutines start programs by all methods at the same time.
func TestForkExecInParallel(t *testing.T) {
	program := forktest.ExitProgram(t)
	startHelper(t)
	var group sync.WaitGroup
	for i := range 15 {
		m := rawfork.Methods()[i%len(rawfork.Methods())]
		group.Go(func() {
			for range 25 {
				pid, err := m.ForkExec(program, []string{"x"}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				forktest.WantExit(t, pid, 0)
			}
		})
	}
	group.Wait()
}

// The pidfd is the child's, and close-on-exec.
func TestForkExecPidFD(t *testing.T) {
	program := forktest.ExitProgram(t)
	inEveryMethod(t, func(t *testing.T, m rawfork.Method) {
		pidfd := -7
		attr := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{PidFD: &pidfd}}
		pid, err := m.ForkExec(program, nil, attr)
		if m == rawfork.BySpawn {
			wantUnsupported(t, err, "PidFD")
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pidfd)
		if flags, err := unix.FcntlInt(uintptr(pidfd), unix.F_GETFD, 0); err != nil || flags != unix.FD_CLOEXEC {
			t.Errorf("flags of the pidfd: %#x, %v, want close-on-exec", flags, err)
		}
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Error("waitid by the pidfd:", err)
		}
		forktest.WantExit(t, pid, 0)

		if m == rawfork.BySyscall {
			return // sets it to -1 against its own words
		}
		pidfd = -7
		if _, err := m.ForkExec("/nope", nil, attr); err == nil || pidfd != -7 {
			t.Errorf("after the failure %v the pidfd is %d, want it unchanged", err, pidfd)
		}
	})
}

// The signal of Pdeathsig comes when the thread that forked ends.
func TestForkExecPdeathsig(t *testing.T) {
	program := forktest.PauseProgram(t, 0)
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.BySyscall} {
		t.Run(m.String(), func(t *testing.T) {
			r, w := pipe(t)
			started := make(chan int)
			onEndingThread(func() {
				pid, err := m.ForkExec(program, nil, &syscall.ProcAttr{Files: []uintptr{w.Fd()},
					Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGUSR1}})
				if err != nil {
					t.Error(err)
				}
				if _, err := r.Read(make([]byte, 1)); err != nil {
					t.Error(err)
				}
				started <- pid
			})
			if pid := <-started; pid > 0 {
				forktest.WantSignal(t, pid, syscall.SIGUSR1)
			}
		})
	}
}

// onEndingThread calls f on a thread that ends afterwards. The first thread of a
// process never ends: if that is what the goroutine has, it keeps it from the next.
func onEndingThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f() // and never unlock: the thread ends with the goroutine
			return
		}
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		onEndingThread(func() { defer close(done); f() })
		<-done
	}()
}

// A caller that starts a program with other credentials stays dumpable, also when
// the child has its memory.
func TestForkExecKeepsDumpable(t *testing.T) {
	needsRoot(t, "setgroups(2) needs CAP_SETGID")
	program := forktest.ExitProgram(t)
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork} {
		t.Run(m.String(), func(t *testing.T) {
			if got := dumpable(t); got != 1 {
				t.Skip("this process isn't dumpable:", got)
			}
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					pid, err := m.ForkExec(program, nil, &syscall.ProcAttr{
						Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}})
					if err != nil {
						t.Error(err)
						return
					}
					forktest.WantExit(t, pid, 0)
				})
			}
			group.Wait()
			if got := dumpable(t); got != 1 {
				t.Errorf("PR_GET_DUMPABLE gives %d afterwards, want 1", got)
			}
		})
	}
}

// needsRoot skips a test that an ordinary user may not do.
func needsRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip(why)
	}
}

func dumpable(t *testing.T) int {
	t.Helper()
	got, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ---- What is in the way. ----

// Go raises the soft limit on descriptors. The program gets the one that its
// starter was started with, but for posix_spawn, which can't set limits.
func TestForkExecRestoresNofile(t *testing.T) {
	cmd := forktest.Command(t, "startWithNofile")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `ulimit -Sn 256 && ulimit -Hn 512 && exec "$0"`, self}
	got, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	want := "fork 256\nvfork 256\nspawn 511\nsyscall 256\nhelper 256\nchanged: fork 300\nvfork 300\nspawn 300\nsyscall 300\nhelper 300\n"
	for _, m := range rawfork.Methods() {
		want += fmt.Sprintf("%v: 301 files EBADF, 600 files EBADF\n", m)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("soft limits, and more files than they allow (-want +got):\n%s", diff)
	}
}

func startWithNofile() {
	h, err := helper.Start(helper.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close() // else the test process has to reap it
	printNofile()
	fmt.Print("changed: ")
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 300, Max: 512}); err != nil {
		fmt.Println(err)
	}
	printNofile()
	printAboveNofile()
}

// printAboveNofile tells what comes of more files than the soft limit, which is 300, and
// the hard one allow.
func printAboveNofile() {
	for _, m := range rawfork.Methods() {
		try := func(n int) string {
			pid, err := m.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Files: make([]uintptr, n)})
			if err == nil {
				rawfork.Wait(pid)
			}
			return unix.ErrnoName(errno(err))
		}
		fmt.Printf("%v: 301 files %s, 600 files %s\n", m, try(301), try(600))
	}
}

func printNofile() {
	for _, m := range rawfork.Methods() {
		fmt.Print(m, " ")
		pid, err := m.ForkExec("/bin/sh", []string{"sh", "-c", "ulimit -Sn"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
		if err != nil {
			fmt.Println(err)
			continue
		}
		rawfork.Wait(pid)
	}
}

// A process without the descriptors 0, 1 and 2 gets the child's error, although
// the pipe that brings it has one of these numbers.
func TestForkExecWithoutStandardDescriptors(t *testing.T) {
	r, w := pipe(t)
	cmd := forktest.Command(t, "startWithoutDescriptors")
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.BySpawn} {
		want += fmt.Sprint(m, " true\n")
	}
	if diff := cmp.Diff(want, output(t, r, w)); diff != "" {
		t.Errorf("whether the error is ENOENT (-want +got):\n%s", diff)
	}
}

func startWithoutDescriptors() {
	for fd := range 3 {
		syscall.Close(fd)
	}
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.BySpawn} {
		_, err := m.ForkExec("/nope", nil, nil)
		fmt.Fprintln(os.NewFile(3, ""), m, errors.Is(err, syscall.ENOENT))
	}
}

// A process with very many descriptors passes the right ones, also the highest.
func TestForkExecWithManyDescriptors(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	many := int(min(limit.Cur-1, 20000)) // the highest is the last that the limit allows
	r, w := pipe(t)
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	for {
		fd, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil || fd > many-64 {
			if fd >= 0 {
				open = append(open, fd)
			}
			break
		}
		open = append(open, fd)
	}
	top, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, many)
	if err != nil {
		t.Fatal(err)
	}
	open = append(open, top)
	list := func(t *testing.T, m rawfork.Method, fd int) string {
		pid, err := m.ForkExec("/bin/sh", []string{"sh", "-c", "echo /proc/self/fd/* >&1"},
			&syscall.ProcAttr{Files: []uintptr{0, uintptr(fd), 2}})
		if err != nil {
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, 0)
		text := make([]byte, 1000)
		n, err := r.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
	want := list(t, rawfork.BySyscall, open[0])
	inEveryMethod(t, func(t *testing.T, m rawfork.Method) {
		want := want
		if m == rawfork.ByHelper { // inherits nothing: 3 is the list's own
			want = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n"
		}
		for _, fd := range []int{open[0], open[len(open)/2], top} {
			if fd == top && m == rawfork.BySyscall {
				continue // moves its pipe to above the highest, and says EBADF
			}
			if diff := cmp.Diff(want, list(t, m, fd)); diff != "" {
				t.Errorf("descriptor %d: the program's descriptors (-want +got):\n%s", fd, diff)
			}
		}
		if m == rawfork.BySyscall || m == rawfork.BySpawn {
			return // they move descriptors to above the highest
		}
		// All that must move, with no number free above the highest.
		pid, err := m.ForkExec(forktest.ExitProgram(t), nil,
			&syscall.ProcAttr{Files: []uintptr{uintptr(top), 0, 1, 2, uintptr(top), 0}})
		if err != nil {
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, 0)
	})
}

// A program that was written and closed right before is executed, whatever other
// goroutines start by fork and vfork meanwhile: no child has it open for writing
// any more.
func TestForkExecHasNoTextBusy(t *testing.T) {
	image, err := os.ReadFile(forktest.ExitProgram(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	busy, err := os.Create(filepath.Join(dir, "busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := errors.Join(os.Chmod(busy.Name(), 0o755), writeAll(busy, image)); err != nil {
		t.Fatal(err)
	}
	if _, err := rawfork.ForkExec(busy.Name(), nil, nil); !errors.Is(err, syscall.ETXTBSY) {
		t.Skip("this kernel executes files that are open for writing:", err)
	}
	methods := []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.ByHelper}
	startHelper(t)
	var group sync.WaitGroup
	for i := range 12 {
		path, m := filepath.Join(dir, fmt.Sprint("program", i)), methods[i%len(methods)]
		group.Go(func() {
			for range tries(5, 50, 50) {
				if err := writeAndStart(t, path, image, m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func writeAll(f *os.File, b []byte) error {
	_, err := f.Write(b)
	return err
}

func writeAndStart(t *testing.T, path string, image []byte, m rawfork.Method) error {
	if err := os.WriteFile(path, image, 0o755); err != nil {
		return err
	}
	pid, err := m.ForkExec(path, nil, nil)
	if err != nil {
		return err
	}
	forktest.WantExit(t, pid, 0)
	return os.Remove(path)
}

// ---- Failure. ----

func wantUnsupported(t *testing.T, err error, attribute string) {
	t.Helper()
	var e *rawfork.ExecError
	if !errors.As(err, &e) || !errors.Is(err, errors.ErrUnsupported) || e.Step != attribute {
		t.Errorf("got %v, want unsupported %s", err, attribute)
	}
}

// syscall.ForkExec takes the lower half of such a number for the descriptor.
func TestForkExecLargeDescriptor(t *testing.T) {
	startHelper(t)
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.BySpawn, rawfork.ByHelper} {
		for _, fd := range []uintptr{1 << 31, 1 << 32, 1<<32 + 1, ^uintptr(0) - 1} {
			_, err := m.ForkExec("/bin/true", nil, &syscall.ProcAttr{Files: []uintptr{0, fd}})
			var e *rawfork.ExecError
			if !errors.As(err, &e) || e.Step != "Files[1]" || e.Err != syscall.EBADF {
				t.Errorf("%v with descriptor %d: %v, want EBADF at Files[1]", m, fd, err)
			}
		}
	}
}

// Where syscall.ForkExec ends badly, there is an error: with an id map and no user
// namespace it hangs, since its parent, which is to write the map, is suspended by
// vfork; with an empty map its child dies of an index out of range, and it says
// that all is well.
func TestForkExecIDMapErrors(t *testing.T) {
	var some, none = []syscall.SysProcIDMap{{Size: 1}}, []syscall.SysProcIDMap{}
	for _, test := range []struct {
		method rawfork.Method
		sys    syscall.SysProcAttr
		want   error
	}{
		{rawfork.ByFork, syscall.SysProcAttr{UidMappings: some}, syscall.EPERM},
		{rawfork.ByVfork, syscall.SysProcAttr{UidMappings: some}, errors.ErrUnsupported},
		{rawfork.ByFork, syscall.SysProcAttr{GidMappings: none, Unshareflags: syscall.CLONE_NEWUSER}, syscall.EINVAL},
		{rawfork.ByVfork, syscall.SysProcAttr{UidMappings: none, Unshareflags: syscall.CLONE_NEWUSER}, syscall.EINVAL},
	} {
		_, err := test.method.ForkExec("/bin/true", nil, &syscall.ProcAttr{Sys: &test.sys})
		if !errors.Is(err, test.want) {
			t.Errorf("%v: got %v, want %v", test.method, err, test.want)
		}
	}
}

// No pipe is left when the kernel refuses a clone whose id maps the parent would write.
// (syscall.ForkExec leaves one.)
func TestForkExecFailedCloneLeavesNoPipe(t *testing.T) {
	startHelper(t)
	maps := []syscall.SysProcIDMap{{Size: 1}}
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByHelper} {
		before := forktest.DescriptorsOf(t, os.Getpid())
		_, err := m.ForkExec("/bin/true", nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{
			UidMappings: maps, UseCgroupFD: true, CgroupFD: int(openNull(t))}})
		if !errors.Is(err, syscall.EBADF) {
			t.Errorf("%v: %v, want EBADF of a cgroup that is none", m, err)
		}
		if after := forktest.DescriptorsOf(t, os.Getpid()); after != before+1 { // openNull's
			t.Errorf("%v: %d descriptors before, %d after", m, before, after)
		}
	}
}

// posix_spawn names each attribute that it can't do.
func TestSpawnRefuses(t *testing.T) {
	fd := 0
	for attribute, sys := range map[string]syscall.SysProcAttr{
		"Chroot":       {Chroot: "/"},
		"Credential":   {Credential: &syscall.Credential{}},
		"Ptrace":       {Ptrace: true},
		"Setctty":      {Setctty: true},
		"Noctty":       {Noctty: true},
		"Foreground":   {Foreground: true},
		"Pdeathsig":    {Pdeathsig: 1},
		"Cloneflags":   {Cloneflags: syscall.CLONE_NEWNS},
		"Unshareflags": {Unshareflags: syscall.CLONE_NEWNS},
		"UidMappings":  {UidMappings: []syscall.SysProcIDMap{}},
		"GidMappings":  {GidMappings: []syscall.SysProcIDMap{}},
		"AmbientCaps":  {AmbientCaps: []uintptr{0}},
		"UseCgroupFD":  {UseCgroupFD: true},
		"PidFD":        {PidFD: &fd},
	} {
		_, err := rawfork.BySpawn.ForkExec("/bin/true", nil, &syscall.ProcAttr{Sys: &sys})
		wantUnsupported(t, err, attribute)
	}
}

// What would have the child close its parent's descriptors, or be no child that the
// parent can reap, is refused.
func TestForkExecCloneflags(t *testing.T) {
	startHelper(t)
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.ByHelper} {
		for _, flag := range []uintptr{syscall.CLONE_FILES, syscall.CLONE_PARENT, syscall.CLONE_THREAD} {
			_, err := m.ForkExec("/bin/true", nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: flag}})
			wantUnsupported(t, err, "Cloneflags")
		}
	}
}

func TestNoHelper(t *testing.T) {
	h := startHelper(t)
	h.Close()
	if _, err := rawfork.ByHelper.ForkExec("/bin/true", nil, nil); !errors.Is(err, helper.ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, helper.ErrClosed)
	}
}

func TestUnknownMethod(t *testing.T) {
	_, err := rawfork.Method(99).ForkExec("/bin/true", nil, nil)
	wantUnsupported(t, err, "method")
}

// badCall is a call that must fail, and at which step.
type badCall struct {
	name string
	path string
	argv []string
	attr syscall.ProcAttr
	step string
}

func badCalls(t *testing.T) []badCall {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, closed := file("plain", "x", 0o644), closedDescriptor(t)
	sys := func(s syscall.SysProcAttr) syscall.ProcAttr { return syscall.ProcAttr{Sys: &s} }
	call := func(name, step string, attr syscall.ProcAttr) badCall {
		return badCall{name: name, path: "/bin/true", step: step, attr: attr}
	}
	program := func(name, path string, argv ...string) badCall {
		return badCall{name: name, path: path, argv: argv, step: "execve"}
	}
	// What an ordinary user fails at an earlier step, for want of a capability.
	asRoot := func(step, otherwise string) string {
		if os.Geteuid() != 0 {
			return otherwise
		}
		return step
	}
	return []badCall{
		program("missing", "/nope"),
		program("empty path", ""),
		program("directory", "/"),
		program("not executable", plain),
		program("below a file", plain+"/x"),
		program("no format", file("text", "text", 0o755)),
		program("bad interpreter", file("script", "#!/nope\n", 0o755)),
		program("half an ELF", file("elf", "\x7fELF", 0o755)),
		program("4,095 bytes of path", strings.Repeat("/nope", 819)),
		program("4,096 bytes of path", "/"+strings.Repeat("/nope", 819)),
		program("long name", "/"+strings.Repeat("x", 256)),
		program("long argument", "/bin/true", strings.Repeat("x", 1<<17)),
		program("many arguments", "/bin/true", slices.Repeat([]string{strings.Repeat("x", 1<<16)}, 200)...),
		call("long environment", "execve", syscall.ProcAttr{Env: []string{strings.Repeat("x", 1<<17)}}),
		call("missing dir", "chdir", syscall.ProcAttr{Dir: "/nope"}),
		call("file as dir", "chdir", syscall.ProcAttr{Dir: plain}),
		call("4,096 bytes of dir", "chdir", syscall.ProcAttr{Dir: strings.Repeat("/", 4096)}),
		call("4,096 bytes of chroot", "chroot", sys(syscall.SysProcAttr{Chroot: strings.Repeat("/", 4096)})),
		call("long dir", "chdir", syscall.ProcAttr{Dir: "/" + strings.Repeat("x", 5000)}),
		call("closed descriptor", "dup3", syscall.ProcAttr{Files: []uintptr{0, closed}}),
		call("closed descriptor in place", "dup3", syscall.ProcAttr{Files: append(make([]uintptr, closed), closed)}),
		call("closed, after a move", "dup3", syscall.ProcAttr{Files: []uintptr{2, 1, 0, closed, 3}}),
		call("high descriptor", "dup3", syscall.ProcAttr{Files: []uintptr{1<<31 - 1}}),
		call("missing chroot", "chroot", sys(syscall.SysProcAttr{Chroot: "/nope"})),
		call("file as chroot", "chroot", sys(syscall.SysProcAttr{Chroot: plain})),
		call("program not in chroot", asRoot("execve", "chroot"), sys(syscall.SysProcAttr{Chroot: dir})),
		call("bad group", asRoot("setgid", "setgroups"), sys(syscall.SysProcAttr{Credential: &syscall.Credential{Gid: ^uint32(0)}})),
		call("bad user", asRoot("setuid", "setgroups"), sys(syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ^uint32(0)}})),
		call("bad groups", "setgroups", sys(syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{^uint32(0)}}})),
		call("65,537 groups", "setgroups", sys(syscall.SysProcAttr{Credential: &syscall.Credential{Groups: make([]uint32, 65537)}})),
		call("process group of nobody", "setpgid", sys(syscall.SysProcAttr{Setpgid: true, Pgid: 1 << 30})),
		call("negative process group", "setpgid", sys(syscall.SysProcAttr{Setpgid: true, Pgid: -1})),
		call("foreground of no terminal", "ioctl(TIOCSPGRP)", sys(syscall.SysProcAttr{Foreground: true, Ctty: int(openNull(t))})),
		call("no terminal to leave", "ioctl(TIOCNOTTY)", syscall.ProcAttr{Files: []uintptr{openNull(t)}, Sys: &syscall.SysProcAttr{Noctty: true}}),
		call("no terminal to take", "ioctl(TIOCSCTTY)", syscall.ProcAttr{Files: []uintptr{openNull(t)}, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true}}),
		call("closed cgroup", "clone", sys(syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(closed)})),
		call("cgroup that is none", "clone", sys(syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(openNull(t))})),
		call("negative cgroup", "CgroupFD", sys(syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: -1})),
		call("unknown unshare flag", "unshare", sys(syscall.SysProcAttr{Unshareflags: 1})),
		call("unknown capability", "prctl(PR_CAP_AMBIENT)", sys(syscall.SysProcAttr{AmbientCaps: []uintptr{63}})),
		call("bad id map", "write uid_map", sys(syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{Size: -1}}})),
		call("clone flags against each other", "clone", sys(syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_FS})),
		{name: "NUL in path", path: "/bin\x00/true", step: "path"},
		{name: "NUL in argument", path: "/bin/true", argv: []string{"\x00"}, step: "argv[0]"},
		call("NUL in environment", "Env[0]", syscall.ProcAttr{Env: []string{"\x00"}}),
		call("NUL in dir", "Dir", syscall.ProcAttr{Dir: "\x00"}),
		call("NUL in chroot", "Chroot", sys(syscall.SysProcAttr{Chroot: "\x00"})),
	}
}

func openNull(t *testing.T) uintptr {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return null.Fd()
}

// closedDescriptor is the number of a descriptor that is not open, and that
// nobody opens as long as there are lower ones.
func closedDescriptor(t *testing.T) uintptr {
	t.Helper()
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 200)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return uintptr(fd)
}

// The errno is that of syscall.ForkExec, the step is the one that failed, and
// nothing is left behind.
func TestForkExecErrors(t *testing.T) {
	h := startHelper(t)
	for _, c := range badCalls(t) {
		t.Run(c.name, func(t *testing.T) {
			before := forktest.DescriptorsOf(t, os.Getpid())
			_, err := syscall.ForkExec(c.path, c.argv, &c.attr)
			var want syscall.Errno
			if !errors.As(err, &want) {
				t.Fatalf("syscall.ForkExec: %v, want an errno", err)
			}
			for _, m := range rawfork.Methods() {
				pid, err := m.ForkExec(c.path, c.argv, &c.attr)
				if err == nil {
					forktest.Wait(t, pid)
					t.Errorf("%v: no error, want %v", m, want)
					continue
				}
				var got *rawfork.ExecError
				if !errors.As(err, &got) || got.Method != m || got.Path != c.path || pid != 0 {
					t.Errorf("%v: pid %d, %#v", m, pid, err)
				}
				if errors.Is(err, errors.ErrUnsupported) && !errors.Is(want, errors.ErrUnsupported) {
					if m == rawfork.ByFork || m == rawfork.ByHelper && got.Step != "Cloneflags" {
						t.Errorf("%v", err)
					}
					continue // TestSpawnRefuses and the differential test know which
				}
				if !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
				if m != rawfork.BySpawn && m != rawfork.BySyscall && got.Step != c.step {
					t.Errorf("%v: step %q, want %q", err, got.Step, c.step)
				}
			}
			if diff := cmp.Diff(before, forktest.DescriptorsOf(t, os.Getpid())); diff != "" {
				t.Errorf("open descriptors (-before +after):\n%s", diff)
			}
			children, err := ps.Children(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]int{h.Pid()}, children); diff != "" {
				t.Errorf("children (-want +got):\n%s", diff)
			}
		})
	}
}

// Arguments, or an environment, that are just small enough for the kernel, and one
// byte more.
func TestForkExecArgMax(t *testing.T) {
	program := forktest.ExitProgram(t)
	for _, where := range []string{"argv", "Env"} {
		start := func(t *testing.T, m rawfork.Method, bytes int) error {
			var list []string
			for ; bytes > 0; bytes -= 1 << 16 {
				list = append(list, strings.Repeat("x", min(bytes, 1<<16)))
			}
			argv, attr := list, &syscall.ProcAttr{Env: []string{}}
			if where == "Env" {
				argv, attr.Env = []string{"x"}, list
			}
			pid, err := m.ForkExec(program, argv, attr)
			if err == nil {
				forktest.WantExit(t, pid, 0)
			}
			return err
		}
		fits, over := 0, 1<<24
		for over-fits > 1 {
			if middle := (fits + over) / 2; start(t, rawfork.BySyscall, middle) == nil {
				fits = middle
			} else {
				over = middle
			}
		}
		for _, m := range rawfork.Methods() {
			t.Run(where+" by "+m.String(), func(t *testing.T) {
				if m == rawfork.ByHelper {
					startHelper(t)
				}
				if err := start(t, m, fits); err != nil {
					t.Errorf("%d bytes: %v", fits, err)
				}
				if err := start(t, m, over); !errors.Is(err, syscall.E2BIG) {
					t.Errorf("%d bytes: %v, want E2BIG", over, err)
				}
			})
		}
	}
}

// The longest path that the kernel takes, 4,095 bytes, as program and as directory.
// One more is among the bad calls.
func TestForkExecLongPaths(t *testing.T) {
	long := func(path string) string { return strings.Repeat("/", 4095-len(path)) + path }
	program := long(forktest.ExitProgram(t))
	inEveryMethod(t, func(t *testing.T, m rawfork.Method) {
		pid, err := m.ForkExec(program, nil, &syscall.ProcAttr{Dir: long("/usr")})
		if err != nil {
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, 0)
	})
}

// At the limit on processes there is an error, and no child, descriptor or lock.
func TestForkExecAtProcessLimit(t *testing.T) {
	cmd := forktest.Command(t, "startAtProcessLimit")
	if os.Geteuid() == 0 { // whom the limit doesn't hold
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	}
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	// An executable that user 54321 may start.
	path := filepath.Join(filepath.Dir(forktest.ExitProgram(t)), "self")
	if err := copyFile(path, "/proc/self/exe"); err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Dir = path, "/"
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
	}
	want := "fork fork EAGAIN\nvfork clone EAGAIN\nspawn posix_spawn EAGAIN\nagain: fork true vfork true spawn true\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("errors at the limit (-want +got):\n%s", diff)
	}
}

func copyFile(to, from string) error {
	image, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, image, 0o755); err != nil {
		return err
	}
	return os.Chmod(to, 0o755)
}

func startAtProcessLimit() {
	methods := []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.BySpawn}
	var limit syscall.Rlimit
	syscall.Getrlimit(unix.RLIMIT_NPROC, &limit)
	at := limit
	at.Cur = 1 // this process has more threads than that
	syscall.Setrlimit(unix.RLIMIT_NPROC, &at)
	for _, m := range methods {
		_, err := m.ForkExec("/bin/true", []string{"true"}, nil)
		var e *rawfork.ExecError
		if errors.As(err, &e) {
			fmt.Println(m, e.Step, unix.ErrnoName(e.Err.(syscall.Errno)))
		}
	}
	syscall.Setrlimit(unix.RLIMIT_NPROC, &limit)
	fmt.Print("again:")
	for _, m := range methods {
		pid, err := m.ForkExec("/bin/true", []string{"true"}, nil)
		if err == nil {
			_, err = rawfork.Wait(pid)
		}
		fmt.Print(" ", m, " ", err == nil)
	}
	fmt.Println()
}

// ---- Names. ----

func TestParseMethod(t *testing.T) {
	for _, m := range rawfork.Methods() {
		if got, err := rawfork.ParseMethod(m.String()); err != nil || got != m {
			t.Errorf("%v parses as %v, %v", m, got, err)
		}
	}
	for _, name := range []string{"", "Fork", "clone"} {
		if _, err := rawfork.ParseMethod(name); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q parses with error %v, want EINVAL", name, err)
		}
	}
}
