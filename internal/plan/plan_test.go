//go:build linux && cgo && (amd64 || arm64)

package plan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"rawfork/internal/guardpage"
)

// fullAttr uses every section of a plan.
func fullAttr() *syscall.ProcAttr {
	return &syscall.ProcAttr{
		Dir:   "/tmp",
		Env:   []string{"A=1", "", "B=2"},
		Files: []uintptr{5, noFile, 1, 5},
		Sys: &syscall.SysProcAttr{
			Chroot:       "/root",
			Credential:   &syscall.Credential{Uid: 1, Gid: 2, Groups: []uint32{3, 4, 5}},
			Setsid:       true,
			Setctty:      true,
			Ctty:         2,
			Pdeathsig:    syscall.SIGTERM,
			Unshareflags: syscall.CLONE_NEWUSER,
			UidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1000, Size: 1}},
			GidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 2, Size: 3}},
			AmbientCaps:  []uintptr{10, 63},
			UseCgroupFD:  true,
			CgroupFD:     7,
		},
	}
}

func compile(t testing.TB, attr *syscall.ProcAttr) []byte {
	t.Helper()
	plan, err := Compile("/bin/true", []string{"true", "", "x"}, attr)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// A compiled plan passes the check, and linked it has the strings of the call.
func TestCompileCheckLink(t *testing.T) {
	for name, attr := range map[string]*syscall.ProcAttr{"empty": {}, "full": fullAttr()} {
		t.Run(name, func(t *testing.T) {
			plan := compile(t, attr)
			if err := Check(plan); err != nil {
				t.Fatal(err)
			}
			argv, envp := link(plan)
			got := [][]string{vector(t, plan, argv), vector(t, plan, envp)}
			if diff := cmp.Diff([][]string{{"true", "", "x"}, attr.Env}, got); diff != "" {
				t.Errorf("argv and environment (-want +got):\n%s", diff)
			}
		})
	}
}

// vector reads a NULL-terminated vector of strings, all of which must lie in the
// plan.
func vector(t testing.TB, plan []byte, at unsafe.Pointer) (strs []string) {
	t.Helper()
	base := uintptr(unsafe.Pointer(&plan[0]))
	for ; ; at = unsafe.Add(at, 8) {
		word := uintptr(at) - base
		if word+8 > uintptr(len(plan)) {
			t.Fatalf("vector at %d of %d bytes", word, len(plan))
		}
		p := *(*uint64)(at)
		if p == 0 {
			return strs
		}
		offset := uintptr(p) - base
		if offset >= uintptr(len(plan)) {
			t.Fatalf("string at %d of %d bytes", offset, len(plan))
		}
		end := bytes.IndexByte(plan[offset:], 0)
		if end < 0 {
			t.Fatalf("string at %d without a NUL", offset)
		}
		strs = append(strs, string(plan[offset:][:end]))
	}
}

// The plan names each descriptor once, in the order of first use.
func TestFDs(t *testing.T) {
	if diff := cmp.Diff([]int32{5, 1, 7}, FDs(compile(t, fullAttr()))); diff != "" {
		t.Errorf("descriptors (-want +got):\n%s", diff)
	}
}

// What can't be put into a plan names the attribute.
func TestCompileRefuses(t *testing.T) {
	sys := func(s syscall.SysProcAttr) *syscall.ProcAttr { return &syscall.ProcAttr{Sys: &s} }
	for _, test := range []struct {
		path string
		argv []string
		attr *syscall.ProcAttr
		step string
		err  error
	}{
		{"a\x00b", nil, &syscall.ProcAttr{}, "path", syscall.EINVAL},
		{"a", []string{"x", "\x00"}, &syscall.ProcAttr{}, "argv[1]", syscall.EINVAL},
		{"a", []string{"x"}, &syscall.ProcAttr{Env: []string{"A=\x00"}}, "Env[0]", syscall.EINVAL},
		{"a", nil, &syscall.ProcAttr{Dir: "\x00"}, "Dir", syscall.EINVAL},
		{"a", nil, sys(syscall.SysProcAttr{Chroot: "\x00"}), "Chroot", syscall.EINVAL},
		{"a", nil, &syscall.ProcAttr{Files: []uintptr{0, 1 << 31}}, "Files[1]", syscall.EBADF},
		{"a", nil, sys(syscall.SysProcAttr{AmbientCaps: []uintptr{64}}), "AmbientCaps[0]", syscall.EINVAL},
		{"a", nil, sys(syscall.SysProcAttr{Setctty: true, Foreground: true}), "Setctty and Foreground", syscall.EINVAL},
		{"a", nil, sys(syscall.SysProcAttr{Setctty: true, Ctty: 0}), "Setctty", syscall.EINVAL},
		{"a", nil, sys(syscall.SysProcAttr{Foreground: true, Ctty: -1}), "Ctty", syscall.EBADF},
		{"a", nil, sys(syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: -1}), "CgroupFD", syscall.EINVAL},
		{"a", nil, sys(syscall.SysProcAttr{Pdeathsig: 65}), "Pdeathsig", syscall.EINVAL},
		{"a", nil, sys(syscall.SysProcAttr{Cloneflags: syscall.CLONE_FILES}), "Cloneflags", errors.ErrUnsupported},
	} {
		_, err := Compile(test.path, test.argv, test.attr)
		var got *Error
		if !errors.As(err, &got) || got.Step != test.step || !errors.Is(err, test.err) {
			t.Errorf("got %v, want %s: %v", err, test.step, test.err)
		}
	}
}

// A malformed plan is refused, never run.
func TestStartRefuses(t *testing.T) {
	for _, how := range []How{Fork, Vfork, Spawn} {
		for _, plan := range [][]byte{nil, {}, make([]byte, 8), make([]byte, 4096)} {
			pid, _, err := Start(plan, how)
			if !errors.Is(err, syscall.EINVAL) || pid != -1 {
				t.Errorf("a plan of %d bytes gave %d, %v, want EINVAL", len(plan), pid, err)
			}
		}
	}
}

// A child whose parent died before it asked for the parent's death signal sends itself
// that signal: here the plan names a parent that isn't there any more.
func TestPdeathsigOfDeadParent(t *testing.T) {
	for _, how := range []How{Fork, Vfork} {
		plan, err := Compile("/bin/sh", []string{"sh", "-c", "exit 3"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}})
		if err != nil {
			t.Fatal(err)
		}
		(*cPlan)(unsafe.Pointer(&plan[0])).ppid++
		runtime.LockOSThread()
		pid, _, err := Start(plan, how)
		runtime.UnlockOSThread()
		if err != nil {
			t.Fatal(err)
		}
		if status := wait(t, pid); !status.Signaled() || status.Signal() != syscall.SIGTERM {
			t.Errorf("by %d: wait status %#x, want death by SIGTERM", how, uint32(status))
		}
	}
}

// wait reaps pid; a child that hangs is killed, which its status then says.
func wait(t testing.TB, pid int) (status syscall.WaitStatus) {
	t.Helper()
	// As forktest.Watchdog, whose package imports this one.
	watch := time.AfterFunc(2*time.Minute, func() { syscall.Kill(pid, syscall.SIGKILL) })
	defer watch.Stop()
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	return status
}

// Each cut of a plan is refused, and so is each plan with more after its end.
func TestCheckRefusesCuts(t *testing.T) {
	plan := compile(t, fullAttr())
	for n := range len(plan) {
		if err := Check(plan[:n:n]); err == nil {
			t.Errorf("%d of %d bytes passed", n, len(plan))
		}
	}
	if err := Check(append(plan, 0)); err == nil {
		t.Error("a plan with one byte more passed")
	}
}

// FuzzPlan compares the checker in C with one in Go, and links what passes. The
// bytes end where a page without any access begins, so that a read beyond them
// is a crash.
func FuzzPlan(f *testing.F) {
	full := compile(f, fullAttr())
	f.Add(full)
	f.Add(compile(f, &syscall.ProcAttr{}))
	f.Add([]byte{})
	// Counts that only a checker without overflows refuses.
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		mutated := bytes.Clone(full)
		for range 1 + random.IntN(3) {
			at := 16 + 4*random.IntN((len(full)-16)/4)
			word := []uint32{0, 1, 0xffffffff, 0x80000000, 0x40000000, random.Uint32(), random.Uint32N(100)}[random.IntN(7)]
			binary.NativeEndian.PutUint32(mutated[at:], word)
		}
		f.Add(mutated)
	}
	f.Fuzz(func(t *testing.T, plan []byte) {
		if len(plan) > 1<<20 {
			return
		}
		guarded, free := guardpage.Copy(t, plan)
		defer free()
		want, got := valid(plan), Check(guarded) == nil
		// The bytes must start at a multiple of 8 to pass; these end at one.
		want = want && len(plan)%8 == 0
		if got != want {
			t.Fatalf("the check of %d bytes says %t, want %t", len(plan), got, want)
		}
		aligned, free := guardpage.Copy(t, append(bytes.Clone(plan), make([]byte, -len(plan)&7)...))
		defer free()
		aligned = aligned[:len(plan)]
		if got, want := Check(aligned) == nil, valid(plan); got != want {
			t.Fatalf("the check of %d aligned bytes says %t, want %t", len(plan), got, want)
		}
		if valid(plan) {
			argv, envp := link(aligned)
			header := (*cPlan)(unsafe.Pointer(&aligned[0]))
			if n := len(vector(t, aligned, argv)); n != int(header.argc) {
				t.Fatalf("argv has %d strings, want %d", n, header.argc)
			}
			if n := len(vector(t, aligned, envp)); n != int(header.envc) {
				t.Fatalf("the environment has %d strings, want %d", n, header.envc)
			}
		}
	})
}

// valid is rawfork_plan_check once more, without alignment, from plan.h's words.
func valid(plan []byte) bool {
	const header = 104
	if len(plan) < header {
		return false
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(plan[at:]) }
	i32 := func(at int) int64 { return int64(int32(u32(at))) }
	flags := u32(4)
	nfds, nfiles, ngroups, ncaps, argc, envc := int64(u32(16)), int64(u32(20)), int64(u32(24)), int64(u32(28)), int64(u32(32)), int64(u32(36))
	ctty, cgroup, pdeathsig := i32(44), i32(48), i32(52)
	within := func(v, n int64) bool { return 0 <= v && v < n }
	foreground, setctty := flags&planForeground != 0, flags&planSetctty != 0
	switch {
	case u32(0) != planMagic, flags>>14 != 0, binary.NativeEndian.Uint64(plan[8:]) != uint64(len(plan)),
		!within(pdeathsig, 65), u32(68) != 0, binary.NativeEndian.Uint64(plan[72:])&^Cloneflags != 0,
		foreground && setctty, foreground && !within(ctty, nfds), setctty && !within(ctty, nfiles),
		flags&planCgroup != 0 && !within(cgroup, nfds):
		return false
	}
	arrays := 4 * (nfds + nfiles + ngroups + ncaps)
	strs := header + (arrays+7)/8*8 + 8*(argc+1+envc+1)
	if strs > int64(len(plan)) {
		return false
	}
	at := header
	array := func(n int64, ok func(v int64) bool) bool {
		good := true
		for range n {
			good = good && ok(i32(at))
			at += 4
		}
		return good
	}
	any := func(int64) bool { return true }
	if !array(nfds, func(v int64) bool { return v >= 0 }) ||
		!array(nfiles, func(v int64) bool { return v == -1 || within(v, nfds) }) ||
		!array(ngroups, any) || !array(ncaps, func(v int64) bool { return within(v, 64) }) {
		return false
	}
	text := plan[strs:]
	return int64(bytes.Count(text, []byte{0})) == planStrings+argc+envc && bytes.HasSuffix(text, []byte{0})
}
