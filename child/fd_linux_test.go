//go:build cgo && (amd64 || arm64)

package child_test

import (
	"math"
	"sort"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/child"
	"rawfork/internal/forktest"
)

//go:norace
func TestClose(t *testing.T) {
	got := shared[[3]syscall.Errno](t)
	r, _ := pipe(t, 0)
	pid := fork(t)
	if pid == 0 {
		got[0], got[1], got[2] = child.Close(r), child.Close(r), child.Close(-1)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	if diff := cmp.Diff([3]syscall.Errno{0, syscall.EBADF, syscall.EBADF}, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := unix.FcntlInt(uintptr(r), unix.F_GETFD, 0); err != nil {
		t.Errorf("the parent's descriptor: %v, want it open", err)
	}
}

//go:norace
func TestCloseRange(t *testing.T) {
	type results struct {
		Marked, Closed, Reversed, Flags, First33Bits, Last33Bits, Flags33Bits syscall.Errno
		Mark                                                                  uintptr
		Gone, Stdin                                                           syscall.Errno
	}
	got := shared[results](t)
	r, _ := pipe(t, 0)
	fd := uint(r)
	pid := fork(t)
	if pid == 0 {
		child.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, 0, 0, 0, 0)
		got.Marked = child.CloseRange(fd, fd, unix.CLOSE_RANGE_CLOEXEC)
		got.Mark, _ = child.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFD, 0, 0, 0, 0)
		got.Closed = child.CloseRange(fd, fd, 0)
		_, got.Gone = child.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFD, 0, 0, 0, 0)
		got.Reversed = child.CloseRange(4, 3, 0)
		got.Flags = child.CloseRange(3, 4, 1<<20)
		got.First33Bits = child.CloseRange(1<<32, 1<<32+2, 0)
		got.Last33Bits = child.CloseRange(0, 1<<32, 0)
		got.Flags33Bits = child.CloseRange(0, 0, 1<<32)
		_, got.Stdin = child.Syscall(unix.SYS_FCNTL, 0, unix.F_GETFD, 0, 0, 0, 0)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	want := results{Mark: unix.FD_CLOEXEC, Gone: syscall.EBADF, Reversed: syscall.EINVAL, Flags: syscall.EINVAL,
		First33Bits: syscall.EINVAL, Last33Bits: syscall.EINVAL, Flags33Bits: syscall.EINVAL}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestKeepOnly compares the descriptors that the child has left, as /proc tells
// them, with those that it was told to keep; with close_range(2) and without.
func TestKeepOnly(t *testing.T) {
	_, w := pipe(t, 0)
	lots := many(t, 3000)
	const closed = 19_999 // is open in no process here
	fd, high := strconv.Itoa(w), strconv.Itoa(lots[2500])
	for _, sandbox := range []struct {
		name  string
		errno uint32 // what close_range gives, or 0 for its work
		full  bool   // whether no more descriptors may be opened
	}{
		{"close_range", 0, false},
		{"without close_range", uint32(syscall.ENOSYS), false},
		{"close_range forbidden", uint32(syscall.EPERM), false},
		{"without close_range, at the limit", uint32(syscall.ENOSYS), true},
	} {
		t.Run(sandbox.name, func(t *testing.T) {
			for _, test := range []struct {
				name string
				keep []int
				want []string
			}{
				{"nothing", nil, nil},
				{"sorted", []int{0, 1, 2, w}, []string{"0", "1", "2", fd}},
				{"unsorted and repeated", []int{lots[2500], w, 1, w, 0, 1}, []string{"0", "1", fd, high}},
				{"negative, huge and closed", []int{-1, math.MinInt, w, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, math.MaxInt, closed}, []string{fd}},
			} {
				t.Run(test.name, func(t *testing.T) {
					got, errno := keepOnly(t, sandbox.errno, sandbox.full, test.keep)
					want := append([]string(nil), test.want...)
					sort.Strings(want)
					if diff := cmp.Diff(want, got); diff != "" || errno != 0 {
						t.Errorf("errno %d, descriptors left (-want +got)\n%s", errno, diff)
					}
				})
			}
		})
	}
}

// keepOnly runs KeepOnly in a child and returns what it left open there.
//
//go:norace
func keepOnly(t *testing.T, closeRange uint32, full bool, keep []int) (left []string, errno syscall.Errno) {
	got := shared[struct{ Sandbox, Limit, KeepOnly syscall.Errno }](t)
	filter := deny(unix.SYS_CLOSE_RANGE, closeRange)
	pid := fork(t)
	if pid == 0 {
		if closeRange != 0 {
			got.Sandbox = confine(filter)
		}
		if full {
			got.Limit = limitFDs(uint64(len(keep)) + 3) // 0, 1, 2 are open, and more
		}
		got.KeepOnly = child.KeepOnly(keep...)
		child.Pause()
		child.Exit(0)
	}
	waitInCall(t, pid, unix.SYS_PPOLL)
	left = descriptors(t, pid)
	must(t, unix.Kill(pid, unix.SIGKILL))
	forktest.WantSignal(t, pid, syscall.SIGKILL)
	if got.Sandbox != 0 || got.Limit != 0 {
		t.Fatalf("seccomp: errno %d, rlimit: errno %d", got.Sandbox, got.Limit)
	}
	return left, got.KeepOnly
}

// Where there is neither close_range(2) nor /proc, KeepOnly says so.
//
//go:norace
func TestKeepOnlyWithoutProc(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Skip("chroot is for root")
	}
	got := shared[struct{ Chroot, Sandbox, KeepOnly syscall.Errno }](t)
	filter, empty := deny(unix.SYS_CLOSE_RANGE, uint32(syscall.ENOSYS)), text(t, t.TempDir())
	pid := fork(t)
	if pid == 0 {
		_, got.Chroot = child.Syscall(unix.SYS_CHROOT, uintptr(unsafe.Pointer(empty)), 0, 0, 0, 0, 0)
		got.Sandbox = confine(filter)
		got.KeepOnly = child.KeepOnly(0)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	want := struct{ Chroot, Sandbox, KeepOnly syscall.Errno }{KeepOnly: syscall.ENOENT}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// many opens n descriptors.
func many(t *testing.T, n int) []int {
	t.Helper()
	fds := make([]int, n)
	null := open(t, "/dev/null", unix.O_RDONLY)
	for i := range fds {
		fd, err := unix.FcntlInt(uintptr(null), unix.F_DUPFD_CLOEXEC, 0)
		must(t, err)
		fds[i] = own(t, fd)
	}
	return fds
}

// deny makes a seccomp filter that lets one system call fail with errno.
func deny(trap, errno uint32) *unix.SockFprog {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equals = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		result = unix.BPF_RET | unix.BPF_K
		allow  = 0x7fff0000
		fail   = 0x00050000
	)
	program := []unix.SockFilter{
		{Code: load, K: 0}, // seccomp_data.nr
		{Code: equals, K: trap, Jf: 1},
		{Code: result, K: fail | errno},
		{Code: result, K: allow},
	}
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}

// confine puts the child under a filter.
//
//go:nosplit
//go:norace
func confine(filter *unix.SockFprog) syscall.Errno {
	if _, errno := child.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); errno != 0 {
		return errno
	}
	_, errno := child.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(filter)), 0, 0)
	return errno
}

//go:norace
func TestDup3(t *testing.T) {
	type results struct {
		Plain, Cloexec, Same, Closed, Negative, AboveLimit, Flags syscall.Errno
		PlainMark, CloexecMark                                    uintptr
	}
	got := shared[results](t)
	r, w := pipe(t, 0)
	s, _ := pipe(t, 0)
	pid := fork(t)
	if pid == 0 {
		got.Plain = child.Dup3(w, r, 0) // onto one that is open
		got.PlainMark, _ = child.Syscall(unix.SYS_FCNTL, uintptr(r), unix.F_GETFD, 0, 0, 0, 0)
		got.Cloexec = child.Dup3(w, s, unix.O_CLOEXEC)
		got.CloexecMark, _ = child.Syscall(unix.SYS_FCNTL, uintptr(s), unix.F_GETFD, 0, 0, 0, 0)
		child.WriteString(r, "one ")
		child.WriteString(s, "two")
		got.Same = child.Dup3(w, w, 0)
		got.Closed = child.Dup3(-1, r, 0)
		got.Negative = child.Dup3(w, -1, 0)
		got.AboveLimit = child.Dup3(w, 1<<30, 0)
		got.Flags = child.Dup3(w, r, unix.O_APPEND)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	drop(w)
	if got := string(all(t, r)); got != "one two" {
		t.Errorf("read %q through the copies, want %q", got, "one two")
	}
	want := results{CloexecMark: unix.FD_CLOEXEC, Same: syscall.EINVAL, Closed: syscall.EBADF,
		Negative: syscall.EBADF, AboveLimit: syscall.EBADF, Flags: syscall.EINVAL}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// O_NONBLOCK belongs to the open file description: the parent sees the change.
//
//go:norace
func TestSetNonblock(t *testing.T) {
	got := shared[[3]syscall.Errno](t)
	set, _ := pipe(t, 0)
	clear, _ := pipe(t, unix.O_NONBLOCK)
	pid := fork(t)
	if pid == 0 {
		got[0], got[1], got[2] = child.SetNonblock(set, true), child.SetNonblock(clear, false), child.SetNonblock(-1, true)
		child.Exit(0)
	}
	forktest.WantExit(t, pid, 0)
	if diff := cmp.Diff([3]syscall.Errno{0, 0, syscall.EBADF}, *got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for fd, want := range map[int]bool{set: true, clear: false} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		must(t, err)
		if got := flags&unix.O_NONBLOCK != 0; got != want {
			t.Errorf("O_NONBLOCK is %t in the parent, want %t", got, want)
		}
	}
}
