//go:build linux && cgo && (amd64 || arm64)

package helper_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
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
	"rawfork/procstate"
)

// The program is the caller's own child for all that waits for one.
func TestForkExecIsOwnChild(t *testing.T) {
	h := start(t, helper.Options{})
	program := forktest.ExitProgram(t)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	fork := func(attr *syscall.ProcAttr) int {
		t.Helper()
		pid, err := h.ForkExec(program, []string{"x"}, attr)
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}

	pid := fork(nil)
	<-ended
	var status syscall.WaitStatus
	if got, err := syscall.Wait4(pid, &status, 0, nil); err != nil || got != pid || !status.Exited() {
		t.Errorf("wait4: %d, %v, %s", got, err, forktest.Describe(status))
	}
	process, err := os.FindProcess(fork(nil))
	if err != nil {
		t.Fatal(err)
	}
	if state, err := process.Wait(); err != nil || !state.Success() {
		t.Errorf("os.Process: %v, %v", state, err)
	}
	pidfd := -1
	pid = fork(&syscall.ProcAttr{Sys: &syscall.SysProcAttr{PidFD: &pidfd, Cloneflags: syscall.CLONE_NEWPID}})
	defer unix.Close(pidfd)
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Error("waitid by the pidfd:", err)
	}
	forktest.WantExit(t, pid, 0)
}

// A program has what a child of the caller would inherit now, not what the caller
// had when it started its helper.
func TestForkExecInherits(t *testing.T) {
	out, err := forktest.Command(t, "inherits", forktest.PauseProgram(t, 0), t.TempDir()).CombinedOutput()
	if err != nil || string(out) != "ok" {
		t.Errorf("%v: %s", err, out)
	}
}

func inherits() {
	program, dir := os.Args[1], os.Args[2]
	if err := os.Chdir(filepath.Dir(program)); err != nil {
		fmt.Println(err)
		return
	}
	h, err := helper.Start(helper.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close() // else the test process has to reap it
	runtime.LockOSThread()
	os.Mkdir(filepath.Join(dir, "bin"), 0o755)
	err = errors.Join(os.Link(program, filepath.Join(dir, "bin", "program")), os.Chdir(dir),
		syscall.Setrlimit(unix.RLIMIT_CORE, &syscall.Rlimit{Cur: 1, Max: 2}),
		syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 100, Max: 200}),
		syscall.Setpgid(0, 0),
		unix.PthreadSigmask(unix.SIG_BLOCK, &unix.Sigset_t{Val: [16]uint64{1<<9 | 1<<40}}, nil))
	syscall.Umask(0o27)
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR2)
	r, w, pipeErr := os.Pipe()
	if err := errors.Join(err, pipeErr); err != nil {
		fmt.Println(err)
		return
	}
	var states []*procstate.State
	for _, m := range []rawfork.Method{rawfork.BySyscall, rawfork.ByHelper} {
		pid, err := m.ForkExec("bin/program", []string{"a program"}, &syscall.ProcAttr{Files: []uintptr{w.Fd()}, Env: []string{"A=1"}})
		if err != nil {
			fmt.Println(err)
			return
		}
		r.Read(make([]byte, 1))
		state, err := procstate.ReadParts(pid, procstate.Descriptors)
		syscall.Kill(pid, syscall.SIGKILL)
		rawfork.Wait(pid)
		if err != nil {
			fmt.Println(err)
			return
		}
		maps.DeleteFunc(state.Descriptors, func(fd int, _ procstate.Descriptor) bool { return fd > 0 })
		state.PID, state.NSPIDs, state.StartTime = 0, nil, 0
		states = append(states, state)
	}
	if diff := procstate.Diff(states[0], states[1], procstate.Moving...); diff != "" {
		fmt.Printf("under syscall.ForkExec → by the helper:\n%s", diff)
		return
	}
	if states[1].Umask != 0o27 { // or nothing was compared
		fmt.Printf("umask %#o", states[1].Umask)
		return
	}
	fmt.Print("ok")
}

// What a program can't get from the helper is an error that names it.
func TestForkExecRefusesWhatHasChanged(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"nothing", "<nil>"},
		{"Uid", "Uid"}, {"Groups", "Groups"}, {"CapEff", "CapEff"}, {"NoNewPrivs", "NoNewPrivs"},
		{"nice", "nice"}, {"Cpus_allowed", "Cpus_allowed"}, {"session", "session"},
		{"uts namespace", "uts namespace"},
		{"root directory", "root directory"}, {"pid namespace of children", "pid namespace of children"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if want != "<nil>" {
				want = "helper/exec /proc/self/exe: " + want + ": not as it was at helper.Start: unsupported operation"
			}
			cmd := forktest.Command(t, "changed", test.name, t.TempDir())
			if test.name == "root directory" {
				cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			}
			out, err := cmd.CombinedOutput()
			if errors.Is(err, syscall.EPERM) || strings.HasPrefix(string(out), "may not: ") {
				t.Skipf("this user may not change it: %v%s", err, out)
			}
			if diff := cmp.Diff(want, string(out)); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// changed changes one thing and starts this program, which then has nothing to do.
func changed() {
	runtime.LockOSThread()
	name := os.Args[1]
	h, err := helper.Start(helper.Options{})
	if err == nil {
		defer h.Close() // else the test process has to reap it
		if err = changes[name](); errors.Is(err, syscall.EPERM) {
			fmt.Print("may not: ", err)
			return
		}
	}
	if err == nil {
		var pid int
		if pid, err = rawfork.ByHelper.ForkExec("/proc/self/exe", []string{"x"}, &syscall.ProcAttr{Env: []string{"FORKTEST_HELPER=byhand"}}); err == nil {
			_, err = rawfork.Wait(pid)
		}
	}
	fmt.Print(err)
}

var changes = map[string]func() error{
	"nothing": func() error { return nil },
	"Uid":     func() error { return syscall.Setresuid(0, 54321, 0) },
	"Groups":  func() error { return syscall.Setgroups([]int{54321}) },
	"CapEff": func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return err
		}
		data[0].Effective &^= 1 << unix.CAP_NET_RAW
		return unix.Capset(&header, &data[0])
	},
	"NoNewPrivs": func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
	"nice":       func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, 7) },
	"Cpus_allowed": func() error {
		var one, all unix.CPUSet
		if err := unix.SchedGetaffinity(0, &all); err != nil {
			return err
		}
		for cpu := 0; one.Count() == 0; cpu++ {
			if all.IsSet(cpu) {
				one.Set(cpu)
			}
		}
		return unix.SchedSetaffinity(0, &one)
	},
	"session": func() error { _, err := syscall.Setsid(); return err },
	"root directory": func() error { // another one, with a /proc
		proc := filepath.Join(os.Args[2], "proc")
		return errors.Join(os.Mkdir(proc, 0o755), unix.Mount("/proc", proc, "", unix.MS_BIND, ""), syscall.Chroot(os.Args[2]))
	},
	"uts namespace": func() error { return unix.Unshare(unix.CLONE_NEWUTS) },
	"pid namespace of children": func() error {
		return unix.Unshare(unix.CLONE_NEWPID)
	},
}

func TestForkExecRefuses(t *testing.T) {
	h := start(t, helper.Options{})
	for _, test := range []struct {
		step string
		attr syscall.ProcAttr
		want error
	}{
		{"Ptrace", syscall.ProcAttr{Sys: &syscall.SysProcAttr{Ptrace: true}}, errors.ErrUnsupported},
		{"Cloneflags", syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_FS}}, errors.ErrUnsupported},
		{"Files", syscall.ProcAttr{Files: manyDescriptors(t, 254)}, syscall.E2BIG},
	} {
		_, err := h.ForkExec("/bin/true", nil, &test.attr)
		var e *rawfork.ExecError
		if !errors.As(err, &e) || e.Step != test.step || !errors.Is(err, test.want) || e.Method != rawfork.ByHelper {
			t.Errorf("%v, want %s: %v", err, test.step, test.want)
		}
	}
	pid, err := h.ForkExec(forktest.ExitProgram(t), nil, &syscall.ProcAttr{Files: manyDescriptors(t, 253)})
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, pid, 0)
	h.Close()
	if _, err := h.ForkExec("/bin/true", nil, nil); !errors.Is(err, helper.ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, helper.ErrClosed)
	}
}

func manyDescriptors(t *testing.T, n int) (fds []uintptr) {
	for range n {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		fds = append(fds, uintptr(fd))
	}
	return fds
}

// A helper that is killed while it starts programs leaves none that nobody knows of:
// each call gives a pid, of a program that runs, or an error without a child.
func TestForkExecWhileHelperIsKilled(t *testing.T) {
	program := forktest.ExitProgram(t)
	for round := range 15 {
		h := start(t, helper.Options{})
		var group sync.WaitGroup
		first := make(chan bool, 100)
		for range 4 {
			group.Go(func() {
				for {
					pid, err := h.ForkExec(program, nil, nil)
					if err != nil {
						if !errors.Is(err, helper.ErrEnded) {
							t.Error(err)
						}
						return
					}
					forktest.WantExit(t, pid, 0)
					select {
					case first <- true:
					default:
					}
				}
			})
		}
		for range round % 4 {
			<-first
		}
		syscall.Kill(h.Pid(), syscall.SIGKILL)
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

// A memory that one large request needed is not kept.
func TestHelperGivesMemoryBack(t *testing.T) {
	h := start(t, helper.Options{})
	argv := slices.Repeat([]string{strings.Repeat("x", 1<<16)}, 200)
	for range 3 {
		if _, err := h.ForkExec("/bin/true", argv, nil); !errors.Is(err, syscall.E2BIG) {
			t.Errorf("13 MB of arguments: %v, want E2BIG", err)
		}
	}
	// A request is served when all that the one before took is given back.
	pid, err := h.ForkExec(forktest.ExitProgram(t), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, pid, 0)
	wantSmall(t, h)
}

// Many goroutines start programs and Go children at once.
func TestForkExecAndGoInParallel(t *testing.T) {
	h := start(t, helper.Options{Ready: 2})
	program := forktest.ExitProgram(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 10 {
				if i%4 == 0 {
					process, err := h.Go("exit")
					if err != nil {
						t.Error(err)
						return
					}
					wantExit(t, process, 9)
					continue
				}
				pid, err := h.ForkExec(program, nil, nil)
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
