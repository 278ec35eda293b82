//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
)

// Each of these tests has a process of its own, since the limit that it runs
// into would be that of all tests.

// At RLIMIT_NPROC, as an ordinary user: root may go beyond it.
func TestForkAtProcessLimit(t *testing.T) { runLimited(t, "forkAtProcessLimit") }

func forkAtProcessLimit() {
	const nobodyElse = 54321 // a user that no other process runs as
	if os.Getuid() == 0 {
		must(syscall.Setgroups(nil))
		must(syscall.Setgid(nobodyElse))
		must(syscall.Setuid(nobodyElse))
	}
	var before unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NPROC, &before))
	limited(syscall.EAGAIN, func() {
		must(unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: before.Max}))
	}, func() {
		must(unix.Setrlimit(unix.RLIMIT_NPROC, &before))
	})
}

// At pids.max of a control group.
func TestForkAtCgroupLimit(t *testing.T) {
	runLimited(t, "forkAtCgroupLimit", forktest.PidsCgroup(t))
}

func forkAtCgroupLimit() {
	group := os.Args[1]
	put := func(name, text string) {
		must(os.WriteFile(filepath.Join(group, name), []byte(text), 0))
	}
	put("cgroup.procs", fmt.Sprint(os.Getpid()))
	limited(syscall.EAGAIN, func() { put("pids.max", "1") }, func() { put("pids.max", "max") })
}

// Without memory for the child's copy: one private mapping that is larger than
// memory and swap together, which nobody has written to. The kernel lets it grow
// piece by piece, but a fork asks for room for all of it at once.
func TestForkWithoutMemory(t *testing.T) {
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(mode)) == "1" {
		t.Skip("vm.overcommit_memory is 1: the kernel promises any amount of memory")
	}
	runLimited(t, "forkWithoutMemory")
}

func forkWithoutMemory() {
	var info unix.Sysinfo_t
	must(unix.Sysinfo(&info))
	piece := uintptr(info.Totalram+info.Totalswap) * uintptr(info.Unit) / 2
	piece = (piece + 1<<30) &^ (1<<21 - 1)
	const pieces = 3
	// Room for all, to have the pieces side by side: the kernel makes them one.
	room, err := unix.MmapPtr(-1, 0, nil, pieces*piece, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	must(err)
	must(unix.MunmapPtr(room, pieces*piece))
	var at [pieces]uintptr
	limited(syscall.ENOMEM, func() {
		for i := range at {
			at[i] = uintptr(room) + uintptr(i)*piece
			_, _, errno := syscall.RawSyscall6(unix.SYS_MMAP, at[i], piece, unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uintptr(0), 0)
			if errno != 0 {
				must(fmt.Errorf("mmap piece %d: %w", i, errno))
			}
		}
	}, func() {
		for i := range at {
			if _, _, errno := syscall.RawSyscall(unix.SYS_MUNMAP, at[i], piece, 0); errno != 0 {
				must(errno)
			}
		}
	})
}

// RLIMIT_AS, a limit on the address space, is none for fork: the kernel looks at it
// where a process grows, and a copy is as large as the process is, be that above
// the limit. The child has the limit too.
func TestForkAboveAddressSpaceLimit(t *testing.T) { runLimited(t, "forkAboveAddressSpaceLimit") }

func forkAboveAddressSpaceLimit() {
	runtime.GOMAXPROCS(1) // the runtime itself needs no memory meanwhile
	const page = 4096
	var before unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_AS, &before))
	must(unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: page, Max: before.Max}))
	_, mine := child.Syscall(unix.SYS_MMAP, 0, page, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	pid, err := rawfork.Fork()
	if pid == 0 {
		_, its := child.Syscall(unix.SYS_MMAP, 0, page, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
		child.Exit(int(its))
	}
	must(unix.Setrlimit(unix.RLIMIT_AS, &before))
	must(err)
	status, err := rawfork.Wait(pid)
	must(err)
	if mine != syscall.ENOMEM || status.ExitStatus() != int(syscall.ENOMEM) {
		must(fmt.Errorf("above RLIMIT_AS mmap said %v in the parent, and the child: %s, want ENOMEM (%d) in both",
			mine, forktest.Describe(status), syscall.ENOMEM))
	}
}

// In a pid namespace whose init has ended the kernel says ENOMEM as well.
func TestForkInDeadPidNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("unshare(CLONE_NEWPID) needs CAP_SYS_ADMIN")
	}
	runLimited(t, "forkInDeadPidns")
}

func forkInDeadPidns() {
	runtime.LockOSThread() // the namespace of a thread's children is the thread's
	own, err := os.Open("/proc/self/ns/pid")
	must(err)
	limited(syscall.ENOMEM, func() {
		must(unix.Unshare(unix.CLONE_NEWPID))
		wantExit(9) // its init
	}, func() {
		must(unix.Setns(int(own.Fd()), unix.CLONE_NEWPID))
	})
}

// limited checks what Fork does between limit and lift: it fails with want, as
// often as it is called, and leaves nothing behind. Before and after, it works.
func limited(want syscall.Errno, limit, lift func()) {
	runtime.GOMAXPROCS(1) // the runtime itself needs no new thread meanwhile
	wantExit(5)
	limit()
	before := openDescriptors()
	type result struct {
		pid      int
		err      error
		lockFree bool
		wait     error
	}
	var results [3]result
	for i := range results {
		r := &results[i]
		r.pid, r.err = rawfork.Fork()
		if r.pid == 0 {
			child.Exit(6)
		}
		if r.lockFree = syscall.ForkLock.TryLock(); r.lockFree {
			syscall.ForkLock.Unlock()
		}
		// No child and no zombie, of anybody.
		r.wait = unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	}
	after := openDescriptors()
	lift()
	for _, r := range results {
		if r.pid != -1 || !errors.Is(r.err, want) || r.err.Error() != "fork: "+want.Error() {
			must(fmt.Errorf("at the limit Fork gave %d, %v, want -1, fork: %v", r.pid, r.err, want))
		}
		if !r.lockFree {
			must(errors.New("ForkLock is held after a Fork that failed"))
		}
		if r.wait != unix.ECHILD {
			must(fmt.Errorf("after a Fork that failed waitid gave %v, want ECHILD", r.wait))
		}
	}
	if before != after {
		must(fmt.Errorf("descriptors before: %s, after: %s", before, after))
	}
	wantExit(7)
}

// wantExit forks a child that exits with code.
func wantExit(code int) {
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.Exit(code)
	}
	must(err)
	status, err := rawfork.Wait(pid)
	must(err)
	if status.ExitStatus() != code {
		must(fmt.Errorf("child: %s, want exit status %d", forktest.Describe(status), code))
	}
}

// openDescriptors lists the numbers of the open descriptors.
func openDescriptors() string {
	entries, err := os.ReadDir("/proc/self/fd")
	must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// must ends the helper process.
func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func runLimited(t *testing.T, helper string, args ...string) {
	t.Helper()
	if out, err := forktest.Command(t, helper, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v", out, err)
	}
}
