//go:build linux

package procstate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/internal/forktest"
	"rawfork/procstate"
)

func uintptrText(p *byte) string { return fmt.Sprintf("%x", uintptr(unsafe.Pointer(p))) }

// What is read of a process is what system calls tell the process itself.
func TestReadIsWhatTheProcessSays(t *testing.T) {
	for _, setup := range []string{"plain", "ids", "capabilities", "umask", "cwd", "session", "name",
		"ignored", "limits", "batch", "fifo", "affinity", "privileges", "personality"} {
		t.Run(setup, func(t *testing.T) {
			pid, want := start(t, setup, "", "x\ny", "\xff", "")
			s := read(t, pid)
			got := of(s)
			dropDumpable(s, &got, &want)
			slices.Sort(got.Env)
			slices.Sort(want.Env) // the subject doesn't know in what order its own came
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-said +read)\n%s", d)
			}
			if len(s.Missing) > 0 {
				t.Errorf("missing: %v", s.Missing)
			}
		})
	}
}

// dropDumpable takes Dumpable out of the comparison where the State says that it
// can't be told, which it must for user and group 0.
func dropDumpable(s *procstate.State, got, want *said) {
	if s.UIDs.Effective == 0 && s.GIDs.Effective == 0 && s.Missing["Dumpable"] != nil {
		delete(s.Missing, "Dumpable")
		got.Dumpable, want.Dumpable = false, false
	}
}

func TestPendingSignals(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	blocked := procstate.Signals(10, 35) // SIGUSR1, SIGRTMIN+1
	var before procstate.SignalSet
	sigmask(t, &blocked, &before)
	pid, _ := start(t, "pending") // inherits the mask
	sigmask(t, &before, nil)
	s := read(t, pid)
	type sets struct{ Blocked, Pending, ProcessPending procstate.SignalSet }
	want := sets{blocked, procstate.Signals(10), procstate.Signals(35)}
	if d := cmp.Diff(want, sets{s.Blocked, s.Pending, s.ProcessPending}); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got, want := s.Threads[0].Pending.String(), "SIGUSR1"; got != want {
		t.Errorf("pending in the leader's Thread: %s, want %s", got, want)
	}
}

func sigmask(t *testing.T, set, old *procstate.SignalSet) {
	t.Helper()
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
}

func TestProcFiles(t *testing.T) {
	pid, _ := start(t, "proc")
	s := read(t, pid)
	if s.OOMScoreAdj != 77 || s.CoredumpFilter != 0x7f {
		t.Errorf("oom_score_adj %d, coredump_filter %#x, want 77, 0x7f", s.OOMScoreAdj, s.CoredumpFilter)
	}
	if s.ExitSignal.String() != "SIGCHLD" || s.StartTime == 0 || s.Kernel {
		t.Errorf("exit signal %v, start time %d, kernel %v", s.ExitSignal, s.StartTime, s.Kernel)
	}
}

func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	pid, _ := start(t, "descriptors", dir)
	s := read(t, pid)
	got := map[int]procstate.Descriptor{}
	for fd, d := range s.Descriptors {
		if fd >= 20 && fd < 30 {
			d.MountID, d.Inode = 0, 0
			if strings.HasPrefix(d.Target, "pipe:[") {
				d.Target = "pipe"
			}
			got[fd] = d
		}
	}
	want := map[int]procstate.Descriptor{
		20: {Target: dir + "/plain", Flags: unix.O_RDWR, CloseOnExec: true, Offset: 4096},
		21: {Target: dir + "/append", Flags: unix.O_WRONLY | unix.O_APPEND | unix.O_NONBLOCK | unix.O_DSYNC},
		22: {Target: dir + "/new\nline \xff", Flags: unix.O_RDWR},
		23: {Target: dir + "/named (deleted)", Flags: unix.O_RDWR},
		24: {Target: dir + "/gone", Flags: unix.O_RDWR, Deleted: true},
		25: {Target: dir + "/gone (deleted)", Flags: unix.O_RDWR, Deleted: true},
		26: {Target: "pipe", Flags: unix.O_RDONLY | unix.O_NONBLOCK},
		27: {Target: "/memfd:m (deleted)", Flags: unix.O_RDWR, Deleted: true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got, want := s.Descriptors[21].Flags.String(), "O_WRONLY|O_APPEND|O_NONBLOCK|O_DSYNC"; got != want {
		t.Errorf("flags print as %s, want %s", got, want)
	}
}

func TestLocks(t *testing.T) {
	dir := t.TempDir()
	pid, _ := start(t, "locks", dir)
	held := map[string]procstate.Lock{}
	for _, l := range read(t, pid).Locks {
		held[l.Kind] = l
	}
	want := map[string]procstate.Lock{
		"POSIX":  {Kind: "POSIX", Mode: "WRITE", PID: pid, Start: 10, End: 14, Descriptors: []int{20}},
		"FLOCK":  {Kind: "FLOCK", Mode: "READ", PID: pid, End: procstate.EOF, Descriptors: []int{21}},
		"OFDLCK": {Kind: "OFDLCK", Mode: "READ", PID: -1, End: procstate.EOF, Descriptors: []int{22}},
	}
	for kind, name := range map[string]string{"POSIX": "posix", "FLOCK": "flock", "OFDLCK": "ofd"} {
		var file unix.Stat_t
		if err := unix.Stat(dir+"/"+name, &file); err != nil {
			t.Fatal(err)
		}
		l := want[kind]
		l.Mandatory, l.Inode = "ADVISORY", file.Ino
		l.Major, l.Minor = unix.Major(file.Dev), unix.Minor(file.Dev)
		want[kind] = l
	}
	if d := cmp.Diff(want, held); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestTimers(t *testing.T) {
	pid, _ := start(t, "timers")
	want := []procstate.Timer{
		{ID: 0, Clock: unix.CLOCK_MONOTONIC, Signal: 34, Value: 0x1234, Notify: fmt.Sprintf("signal/pid.%d", pid)},
		{ID: 1, Clock: unix.CLOCK_REALTIME, Notify: fmt.Sprintf("none/pid.%d", pid)},
	}
	if d := cmp.Diff(want, read(t, pid).Timers); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestMaps(t *testing.T) {
	dir := t.TempDir()
	pid, _ := start(t, "maps", dir)
	address, err := os.ReadFile(dir + "/address")
	if err != nil {
		t.Fatal(err)
	}
	s := read(t, pid)
	var file, private procstate.Map
	for _, m := range s.Maps {
		if strings.HasPrefix(m.Name, dir) {
			file = m
		}
		if fmt.Sprintf("%x", m.Start) == string(address) {
			private = m
		}
	}
	if want := dir + "/two  spaces\nand more (deleted)"; file.Name != want || file.Deleted || file.Perms != "rw-s" || file.End-file.Start != 3*4096 {
		t.Errorf("shared map is %v, want rw-s %q of three pages", file, want)
	}
	flags := strings.Join(private.VmFlags, " ")
	if !strings.Contains(flags, "dc") || private.Rss != 2*4096 || private.PrivateDirty != 2*4096 {
		t.Errorf("private map is %v, want dc and two dirty pages", private)
	}
	if s.Memory.Rss == 0 || s.Memory.PrivateDirty < private.PrivateDirty {
		t.Errorf("totals %+v", s.Memory)
	}
}

func TestNamespaces(t *testing.T) {
	parent, err := procstate.Self()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("one of its own", func(t *testing.T) {
		pid, _ := start(t, "uts")
		s := read(t, pid)
		for _, c := range procstate.Changes(parent, s) {
			if strings.HasPrefix(c.Field, "Namespaces") && c.Field != "Namespaces[uts]" {
				t.Error(c)
			}
		}
		if s.Namespaces["uts"] == parent.Namespaces["uts"] {
			t.Errorf("the same as the parent's after unshare: %v", s.Namespaces)
		}
	})
	t.Run("one that isn't there yet", func(t *testing.T) {
		pid, _ := start(t, "childless")
		s := read(t, pid)
		if _, has := s.Namespaces["pid_for_children"]; has || s.Namespaces["pid"] == 0 ||
			!errors.Is(s.Missing["Namespaces[pid_for_children]"], fs.ErrNotExist) {
			t.Errorf("namespaces %v, missing %v", s.Namespaces, s.Missing)
		}
	})
}

func TestZombie(t *testing.T) {
	cmd := exec.Command("/bin/true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Release()
	pid := cmd.Process.Pid
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	s := read(t, pid)
	if s.Run != "Z" || s.PPID != os.Getpid() || s.Name != "true" {
		t.Errorf("state %s, ppid %d, name %q", s.Run, s.PPID, s.Name)
	}
	for _, field := range []string{"Argv", "Env", "Exe", "Cwd", "Root", "Umask", "Descriptors", "Maps", "Memory", "Namespaces"} {
		if !errors.Is(s.Missing[field], os.ErrProcessDone) {
			t.Errorf("%s is missing by %v, want os.ErrProcessDone", field, s.Missing[field])
		}
	}
	forktest.WantExit(t, pid, 0)
	if s, err := procstate.Read(pid); s != nil || !errors.Is(err, os.ErrProcessDone) || !errors.Is(err, unix.ESRCH) {
		t.Errorf("after the wait: %v, want os.ErrProcessDone and ESRCH", err)
	}
}

// A process that ends while it is read is whole, ended, or gone.
func TestEndWhileRead(t *testing.T) {
	seen := map[string]int{}
	for range 200 {
		cmd := exec.Command("/bin/true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		reaped := make(chan struct{})
		go func() {
			defer close(reaped)
			forktest.WantExit(t, pid, 0)
		}()
		s, err := procstate.Read(pid)
		<-reaped
		cmd.Process.Release()
		switch {
		case err != nil:
			seen["gone"]++
			if !errors.Is(err, os.ErrProcessDone) || !errors.Is(err, unix.ESRCH) || s != nil {
				t.Fatalf("%v, want os.ErrProcessDone and ESRCH", err)
			}
		case s.Ended:
			seen["ended"]++
			if s.Argv != nil || !errors.Is(s.Missing["Argv"], os.ErrProcessDone) || s.Descriptors != nil {
				t.Fatalf("an ended one with arguments %q, missing %v", s.Argv, s.Missing)
			}
		default:
			seen["whole"]++
			if s.Argv == nil && s.Missing["Argv"] != procstate.ErrInExec || s.Cwd.Name == "" {
				t.Fatalf("state %s, arguments %q, cwd %q, missing %v", s.Run, s.Argv, s.Cwd.Name, s.Missing)
			}
		}
	}
	t.Log(seen)
}

func TestKernelThread(t *testing.T) {
	s := read(t, 2)
	if !s.Kernel || s.Name != "kthreadd" {
		t.Skipf("pid 2 is %q here, no kernel thread: a pid namespace of its own", s.Name)
	}
	for _, field := range []string{"Argv", "Env", "Exe", "Maps", "Memory"} {
		if !errors.Is(s.Missing[field], procstate.ErrKernelThread) {
			t.Errorf("%s is missing by %v", field, s.Missing[field])
		}
	}
	if s.Ignored.String() != "all" {
		t.Errorf("ignored: %v, want all", s.Ignored)
	}
}

func TestPIDOne(t *testing.T) {
	s := read(t, 1)
	if s.PID != 1 || s.PPID != 0 || s.Name == "" || len(s.Threads) == 0 {
		t.Errorf("pid %d, ppid %d, name %q, %d threads", s.PID, s.PPID, s.Name, len(s.Threads))
	}
}

func TestNobodyReadsRoot(t *testing.T) {
	cmd := forktest.Command(t, "reader", fmt.Sprint(os.Getpid()))
	cmd.SysProcAttr = asNobody()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); errors.Is(err, os.ErrPermission) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	var s procstate.State
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	want := of(read(t, os.Getpid()))
	got := of(&s)
	if got.PID != want.PID || got.Umask != want.Umask || !cmp.Equal(got.Limits, want.Limits) || !cmp.Equal(got.Argv, want.Argv) {
		t.Errorf("nobody may read these: (-want +got)\n%s", cmp.Diff(want, got))
	}
	for _, field := range []string{"Env", "Exe", "Cwd", "Root", "Descriptors", "Maps", "Memory", "Namespaces", "Personality"} {
		if s.Missing[field] == nil {
			t.Errorf("nobody read %s", field)
		}
	}
}

// Every key of Missing is a field of State.
func TestMissingNamesFields(t *testing.T) {
	s, err := procstate.ReadParts(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for field, err := range s.Missing {
		name, _, _ := strings.Cut(field, "[")
		if _, ok := reflect.TypeFor[procstate.State]().FieldByName(name); !ok {
			t.Errorf("missing %s, which is no field: %v", field, err)
		}
	}
	for _, field := range []string{"Descriptors", "Locks", "Threads", "Maps", "Memory"} {
		if s.Missing[field] != procstate.ErrLeftOut {
			t.Errorf("%s: %v, want ErrLeftOut", field, s.Missing[field])
		}
	}
}

func TestBadPIDs(t *testing.T) {
	for _, pid := range []int{0, -1} {
		if _, err := procstate.Read(pid); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Read(%d): %v, want EINVAL", pid, err)
		}
	}
	if _, err := procstate.Read(1 << 30); !errors.Is(err, unix.ESRCH) || !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Read(1<<30): %v, want ESRCH", err)
	}
	tid := make(chan int)
	done := make(chan struct{})
	defer close(done)
	go func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		<-done
	}()
	id := <-tid
	want := fmt.Sprintf("procstate: read %d: a thread of process %d: no such process", id, os.Getpid())
	if _, err := procstate.Read(id); !errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrProcessDone) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// Self leaves no descriptor behind and doesn't show those that it reads with.
func TestSelf(t *testing.T) {
	before, err := procstate.Self()
	if err != nil {
		t.Fatal(err)
	}
	if before.PID != os.Getpid() || len(before.Missing) > 0 {
		t.Errorf("pid %d, missing %v", before.PID, before.Missing)
	}
	for fd, d := range before.Descriptors {
		if strings.HasPrefix(d.Target, "/proc/") {
			t.Errorf("descriptor %d is %v", fd, d)
		}
	}
	old := syscall.Umask(0o123)
	defer syscall.Umask(old)
	after, err := procstate.Self()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Umask: %04o → 0123\n", old)
	ignore := append([]string{"Descriptors[].Offset"}, procstate.Moving...) // of the test's log
	if got := procstate.Diff(before, after, ignore...); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
