//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/forktest"
	"rawfork/internal/leftover"
	"rawfork/procstate"
)

// combinations is how many random sets of attributes TestForkExecState tries, and
// seed makes them the same ones every time.
const (
	combinations = 300
	seed         = 1
)

// A stage is what the programs of TestForkExecState are started from.
type stage struct {
	files  []uintptr // open in the parent, of different kinds
	ready  *os.File  // the end of the pipe that the program writes to
	heard  *os.File  // the other end
	root   string    // a directory in which the same programs are
	group  int       // a process group of this session
	tty    uintptr   // a terminal of no session
	cgroup int       // -1 where there is none
	// Why there is no cgroup.
	noCgroup string
	// The pause programs by the number of the descriptor that they write to.
	programs map[int]string
}

func newStage(t *testing.T) *stage {
	s := &stage{cgroup: -1, programs: map[int]string{}}
	s.heard, s.ready = pipe(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	file.WriteString("some text")
	terminal := openTerminal(t)
	s.tty = terminal.Fd()
	r, w := pipe(t)
	s.files = []uintptr{openNull(t), file.Fd(), r.Fd(), w.Fd(), s.tty, file.Fd()}

	s.root = t.TempDir()
	for dir := s.root; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.group = startGroup(t)
	s.cgroup, s.noCgroup = makeCgroup(t)
	return s
}

// openTerminal opens the lower side of a new pseudo terminal.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	top, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { top.Close() })
	number, err := unix.IoctlGetInt(int(top.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(top.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal
}

// startGroup starts a process that leads a process group until the test ends.
func startGroup(t *testing.T) (pgid int) {
	r, w := pipe(t)
	pid, err := syscall.ForkExec(forktest.PauseProgram(t, 0), nil, &syscall.ProcAttr{
		Files: []uintptr{w.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(pid, syscall.SIGKILL)
		forktest.WantSignal(t, pid, syscall.SIGKILL)
	})
	r.Read(make([]byte, 1))
	return pid
}

// makeCgroup makes a cgroup of version 2 and opens it, or says why it can't.
func makeCgroup(t *testing.T) (fd int, why string) {
	why = "cgroup2 is not mounted"
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(mount, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(mount, "rawfork-test")
		if err != nil {
			why = err.Error()
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return int(f.Fd()), ""
	}
	return -1, why
}

// An attribute sets some fields of a ProcAttr, by chance where there is a choice.
type attribute func(s *stage, attr *syscall.ProcAttr, random *rand.Rand)

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

var namespaces = []uintptr{syscall.CLONE_NEWNS, syscall.CLONE_NEWUTS, syscall.CLONE_NEWIPC,
	syscall.CLONE_NEWPID, syscall.CLONE_NEWNET, syscall.CLONE_NEWCGROUP, unix.CLONE_NEWTIME}

var attributes = map[string]attribute{
	"Dir": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) { a.Dir = pick(r, "/", "/usr", ".", "/proc/self") },
	"Env": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) {
		a.Env = pick(r, []string{"A=1"}, []string{"A=1", "", "A=2", "nothing"}, []string{"LONG=" + strings.Repeat("x", 5000)})
	},
	"Files": func(s *stage, a *syscall.ProcAttr, r *rand.Rand) {
		a.Files = nil
		for range r.IntN(12) {
			switch {
			case r.IntN(5) == 0:
				a.Files = append(a.Files, ^uintptr(0))
			case r.IntN(3) == 0:
				a.Files = append(a.Files, uintptr(r.IntN(3)))
			default:
				a.Files = append(a.Files, pick(r, s.files...))
			}
		}
	},
	"Chroot": func(s *stage, a *syscall.ProcAttr, _ *rand.Rand) { a.Sys.Chroot = s.root; a.Dir = "/" },
	"Credential": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) {
		a.Sys.Credential = &syscall.Credential{Uid: pick[uint32](r, 0, 1000, 65534), Gid: pick[uint32](r, 0, 1000),
			Groups: pick(r, nil, []uint32{}, []uint32{7}, []uint32{9, 8, 100000}), NoSetGroups: r.IntN(3) == 0}
	},
	"Ptrace": func(_ *stage, a *syscall.ProcAttr, _ *rand.Rand) { a.Sys.Ptrace = true },
	"Setsid": func(_ *stage, a *syscall.ProcAttr, _ *rand.Rand) { a.Sys.Setsid = true },
	"Setpgid": func(s *stage, a *syscall.ProcAttr, r *rand.Rand) {
		a.Sys.Setpgid, a.Sys.Pgid = true, pick(r, 0, s.group)
	},
	"Setctty": func(s *stage, a *syscall.ProcAttr, _ *rand.Rand) {
		a.Files = append(slices.Clone(a.Files), s.tty)
		a.Sys.Setsid, a.Sys.Setctty, a.Sys.Ctty, a.Sys.Foreground = true, true, len(a.Files)-1, false
	},
	// On a terminal that is the session's own: TestForkExecStateOnTerminal.
	"Foreground": func(_ *stage, a *syscall.ProcAttr, _ *rand.Rand) {
		a.Sys.Foreground, a.Sys.Ctty = true, 0
	},
	"Noctty": func(_ *stage, a *syscall.ProcAttr, _ *rand.Rand) { a.Sys.Noctty = true },
	"Pdeathsig": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) {
		a.Sys.Pdeathsig = pick(r, syscall.SIGTERM, syscall.SIGKILL)
	},
	"Cloneflags": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) {
		//lint:ignore SA4000 each operand stands for itself
		a.Sys.Cloneflags |= pick(r, namespaces...) | pick(r, namespaces...)
	},
	"Unshareflags": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) {
		//lint:ignore SA4000 each operand stands for itself
		a.Sys.Unshareflags |= pick(r, namespaces...) | pick(r, namespaces...)
	},
	"Cloneflags user": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) { user(a, &a.Sys.Cloneflags, r) },
	"Unshareflags user": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) {
		user(a, &a.Sys.Unshareflags, r)
	},
	"AmbientCaps": func(_ *stage, a *syscall.ProcAttr, r *rand.Rand) {
		a.Sys.AmbientCaps = pick(r, []uintptr{10}, []uintptr{0, 12, 40}, []uintptr{21})
	},
	"UseCgroupFD": func(s *stage, a *syscall.ProcAttr, _ *rand.Rand) {
		a.Sys.UseCgroupFD, a.Sys.CgroupFD = true, s.cgroup
	},
	"PidFD": func(_ *stage, a *syscall.ProcAttr, _ *rand.Rand) { a.Sys.PidFD = new(int) },
}

// user asks for a user namespace. Clone and unshare with maps can't go together:
// the maps are written once.
func user(a *syscall.ProcAttr, flags *uintptr, random *rand.Rand) {
	if (a.Sys.Cloneflags|a.Sys.Unshareflags)&syscall.CLONE_NEWUSER != 0 {
		return
	}
	*flags |= syscall.CLONE_NEWUSER
	if random.IntN(4) != 0 {
		a.Sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 2000}}
		a.Sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1000}, {ContainerID: 1000, HostID: 5000, Size: 1}}
		a.Sys.GidMappingsEnableSetgroups = random.IntN(2) == 0
	}
}

// The state of a program is the same as under syscall.ForkExec: with each
// attribute alone, and with random sets of them. Where that fails, so does every
// method, with the same errno; where a method says that it can't do an attribute,
// it is one of those that it is known not to do.
func TestForkExecState(t *testing.T) {
	runtime.LockOSThread() // for Ptrace, Pdeathsig and the signal mask
	defer runtime.UnlockOSThread()
	s := newStage(t)
	startHelper(t) // before anything that it could inherit is changed
	oddSignals(t)

	names := slices.Sorted(maps.Keys(attributes))
	names = slices.DeleteFunc(names, func(name string) bool { return name == "Foreground" })
	if s.cgroup < 0 {
		names = slices.DeleteFunc(names, func(name string) bool { return name == "UseCgroupFD" })
		t.Run("UseCgroupFD", func(t *testing.T) { t.Skip(s.noCgroup) })
	}
	random := rand.New(rand.NewPCG(seed, 0))
	sets := [][]string{nil}
	for _, name := range names {
		for range tries(1, 3, 3) { // most choose
			sets = append(sets, []string{name})
		}
	}
	for range tries(combinations/10, combinations, combinations) {
		sets = append(sets, someOf(names, 2+random.IntN(4), random))
	}
	done := s.compareAll(t, sets, random)
	if os.Geteuid() != 0 { // most sets have an attribute that needs a capability
		if done["fork"] < len(sets)/10 || done["helper"] < len(sets)/10 {
			t.Error("too many sets are errors or can't be done")
		}
		return
	}
	if done["fork"] < len(sets)/2 || done["helper"] < len(sets)/3 || done["spawn"] < min(10, len(sets)/10) {
		t.Error("too many sets are errors or can't be done")
	}
}

// someOf picks n of the names.
func someOf(names []string, n int, random *rand.Rand) (set []string) {
	for _, i := range random.Perm(len(names))[:n] {
		set = append(set, names[i])
	}
	slices.Sort(set)
	return set
}

// compareAll compares the programs that are started with each set of attributes. It
// returns how many were started by each method, and how many are errors.
func (s *stage) compareAll(t *testing.T, sets [][]string, random *rand.Rand) (done map[string]int) {
	done = map[string]int{}
	for i, set := range sets {
		s.compare(t, fmt.Sprintf("%d: %s", i, strings.Join(set, ", ")), set, random.Uint64(), done)
	}
	t.Logf("%d sets of attributes: %v", len(sets), done)
	return done
}

// onTerminal is set in the environment of the test process that leads a session whose
// terminal is its descriptor 0.
const onTerminal = "RAWFORK_TEST_ON_TERMINAL"

// The same with Foreground and Noctty, which need a terminal that is the session's own:
// alone, and with random sets of the other attributes. This test starts itself there.
func TestForkExecStateOnTerminal(t *testing.T) {
	if os.Getenv(onTerminal) == "" {
		startOnOwnTerminal(t)
		return
	}
	runtime.LockOSThread() // for Ptrace, Pdeathsig and the signal mask
	defer runtime.UnlockOSThread()
	s := newStage(t)
	startHelper(t)
	oddSignals(t)

	others := slices.Sorted(maps.Keys(attributes))
	others = slices.DeleteFunc(others, func(name string) bool {
		return name == "Foreground" || name == "Setctty" || name == "Setsid" || name == "UseCgroupFD" && s.cgroup < 0
	})
	random := rand.New(rand.NewPCG(seed, 0))
	sets := [][]string{nil, {"Foreground"}, {"Noctty"}, {"Foreground", "Noctty"}, {"Foreground", "Setsid"}, {"Foreground", "Setpgid"}}
	for range tries(5, 20, 100) {
		sets = append(sets, append(someOf(others, 1+random.IntN(3), random), "Foreground"))
	}
	done := s.compareAll(t, sets, random)
	if os.Geteuid() == 0 && done["fork"] < len(sets)/2 || done["fork"] < 5 || done["helper"] < 5 {
		t.Error("too many sets are errors or can't be done")
	}
}

// startOnOwnTerminal has the test run in a process that leads a session on a new terminal.
func startOnOwnTerminal(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m",
		fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), onTerminal+"=1")
	cmd.Stdin = openTerminal(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	said, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Logf("%s", said)
}

// oddSignals gives this thread and process a mask and dispositions that a program
// must inherit, or must not.
func oddSignals(t *testing.T) {
	signal.Ignore(syscall.SIGUSR1, syscall.SIGTTOU)
	t.Cleanup(func() { unignore(syscall.SIGUSR1, syscall.SIGTTOU) })
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGUSR2)
	t.Cleanup(func() { signal.Stop(caught) })
	mask := unix.Sigset_t{}
	mask.Val[0] = 1<<(syscall.SIGWINCH-1) | 1<<(40-1)
	var old unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &mask, &old); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) })
}

// overwritten is what to leave out of a comparison: what moves by itself, and the
// numbers at which syscall.ForkExec puts its own copies of Files and of its pipe,
// which closes a descriptor that the program would have inherited there. They follow
// the highest number that Files name. The other methods leave these descriptors alone.
func overwritten(files []uintptr) []string {
	ignore := slices.Clone(procstate.Moving)
	next := len(files)
	for _, fd := range files {
		next = max(next, int(fd))
	}
	for fd := next + 1; fd <= next+len(files)+2; fd++ {
		ignore = append(ignore, fmt.Sprintf("Descriptors[%d]", fd))
	}
	return ignore
}

// compare starts a program with a set of attributes by every method, and compares.
func (s *stage) compare(t *testing.T, name string, set []string, chance uint64, done map[string]int) {
	attr := func() *syscall.ProcAttr {
		a := &syscall.ProcAttr{Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{}}
		random := rand.New(rand.NewPCG(chance, 0))
		for _, n := range set {
			attributes[n](s, a, random)
		}
		a.Files = append(slices.Clip(a.Files), s.ready.Fd())
		return a
	}
	path := s.program(t, len(attr().Files)-1)
	want, wantErr := s.start(t, rawfork.BySyscall, path, attr())
	if wantErr == nil {
		done["syscall"]++
	} else {
		done["errors"]++
	}
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.BySpawn, rawfork.ByHelper} {
		got, err := s.start(t, m, path, attr())
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			if diff := cmp.Diff(cannot(m, attr().Sys), true); diff != "" {
				t.Errorf("%s: %v, though %v can", name, err, m)
			}
			continue
		case cannot(m, attr().Sys):
			t.Errorf("%s: %v started it, or failed with %v, though it can't", name, m, err)
		case (err == nil) != (wantErr == nil) || wantErr != nil && !errors.Is(err, errno(wantErr)):
			t.Errorf("%s: %v, under syscall.ForkExec: %v", name, err, wantErr)
		case err == nil:
			done[m.String()]++
			want, ignore := want, overwritten(attr().Files)
			switch m {
			case rawfork.ByHelper:
				want, ignore = withoutInherited(want, len(attr().Files)), procstate.Moving
			case rawfork.BySpawn: // gives on the soft limit that Go has raised
				ignore = append(slices.Clip(ignore), "Limits[nofile]")
			}
			if diff := procstate.Diff(want, got, ignore...); diff != "" {
				t.Errorf("%s: under syscall.ForkExec → by %v:\n%s", name, m, diff)
			}
		}
	}
}

// withoutInherited leaves out the descriptors that aren't of Files: a child of the
// helper has none of them.
func withoutInherited(s *procstate.State, files int) *procstate.State {
	cut := *s
	cut.Descriptors = maps.Clone(s.Descriptors)
	maps.DeleteFunc(cut.Descriptors, func(fd int, _ procstate.Descriptor) bool { return fd >= files })
	return &cut
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	errors.As(err, &e)
	return e
}

// cannot tells whether the table of methods says that m can't do sys.
func cannot(m rawfork.Method, sys *syscall.SysProcAttr) bool {
	switch m {
	case rawfork.ByHelper:
		return sys.Ptrace
	case rawfork.ByVfork:
		return sys.UidMappings != nil && sys.Unshareflags&syscall.CLONE_NEWUSER == 0
	case rawfork.BySpawn:
		rest := *sys
		rest.Setsid, rest.Setpgid, rest.Pgid, rest.Ctty, rest.CgroupFD, rest.GidMappingsEnableSetgroups = false, false, 0, 0, 0, false
		return !cmp.Equal(rest, syscall.SysProcAttr{})
	}
	return false
}

// program makes a program that is also there in the stage's own root.
func (s *stage) program(t *testing.T, ready int) string {
	if s.programs[ready] == "" {
		path := forktest.PauseProgram(t, ready)
		inside := filepath.Join(s.root, path)
		if err := os.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := copyFile(inside, path); err != nil {
			t.Fatal(err)
		}
		s.programs[ready] = path
	}
	return s.programs[ready]
}

// start starts the program, reads its state once it is ready, and ends it.
func (s *stage) start(t *testing.T, m rawfork.Method, path string, attr *syscall.ProcAttr) (*procstate.State, error) {
	t.Helper()
	if os.Getenv(onTerminal) != "" { // the program before may have been in the foreground
		if err := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, syscall.Getpgrp()); err != nil {
			t.Fatal(err)
		}
	}
	if m == rawfork.BySyscall && (attr.Sys.UidMappings != nil || attr.Sys.GidMappings != nil) {
		defer closeMapPipe(t)()
	}
	pid, err := m.ForkExec(path, []string{"program", "", "x"}, attr)
	if err != nil {
		return nil, err
	}
	defer func() {
		syscall.Kill(pid, syscall.SIGKILL)
		forktest.WantSignal(t, pid, syscall.SIGKILL)
	}()
	if pidfd := attr.Sys.PidFD; pidfd != nil {
		unix.Close(*pidfd)
	}
	if attr.Sys.Ptrace { // it stops at its first instruction
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
			t.Fatalf("a traced program: %s, %v", forktest.Describe(status), err)
		}
	} else {
		s.heard.SetReadDeadline(time.Now().Add(forktest.Watchdog))
		if _, err := s.heard.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the program of %v isn't ready: %v", m, err)
		}
	}
	state, err := procstate.ReadParts(pid, procstate.Descriptors)
	if err != nil {
		t.Fatal(err)
	}
	return normalised(t, state), nil
}

// closeMapPipe is for what syscall.ForkExec leaves open when a clone with id maps fails, as
// it does for an ordinary user: the pipe by which it says that they are written. The
// function that it returns closes the pipe, if it is there.
func closeMapPipe(t *testing.T) func() {
	before := leftover.Descriptors()
	return func() {
		for name, target := range leftover.Descriptors() {
			if before[name] == "" && strings.HasPrefix(target, "pipe:") {
				fd, err := strconv.Atoi(name)
				if err != nil {
					t.Fatal(err)
				}
				unix.Close(fd)
			}
		}
	}
}

// normalised replaces what is new in every process by a word for it.
func normalised(t *testing.T, s *procstate.State) *procstate.State {
	self, err := procstate.ReadParts(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	const own, fresh = -1000, 1
	for _, id := range []*int{&s.PGID, &s.SID, &s.ForegroundPGID} {
		if *id == s.PID {
			*id = own
		}
	}
	for i := range s.NSPIDs {
		if s.NSPIDs[i] == s.PID {
			s.NSPIDs[i] = own
		}
	}
	for name, inode := range s.Namespaces {
		if inode != self.Namespaces[name] {
			s.Namespaces[name] = fresh
		}
	}
	if s.Autogroup != self.Autogroup {
		s.Autogroup = "new"
	}
	s.Cwd.Name = strings.ReplaceAll(s.Cwd.Name, fmt.Sprint("/", s.PID), "/PID")
	s.PID, s.StartTime = own, 0
	return s
}
