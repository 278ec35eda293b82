//go:build cgo && (amd64 || arm64)

package child_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/internal/watchdog"
)

// The child of each test is the branch pid == 0 of the test's own function. What
// its calls returned it leaves in memory that is shared with the parent, who
// compares. Tests are marked norace, as all code is that runs in a child.

// num is what a call returned.
type num struct {
	N     int
	Errno syscall.Errno
}

// fork forks. There is always a child: a test can't go on without one.
//
//go:norace
func fork(t *testing.T) (pid int) {
	pid, err := rawfork.Fork()
	if pid != 0 && err != nil {
		t.Fatal(err)
	}
	return pid
}

// shared makes a zeroed T in memory that children share with this process.
func shared[T any](t *testing.T) *T {
	t.Helper()
	return (*T)(unsafe.Pointer(&mapped(t, int(unsafe.Sizeof(*new(T))), unix.PROT_READ|unix.PROT_WRITE)[0]))
}

// mapped makes n bytes of shared memory.
func mapped(t *testing.T, n, protection int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, n, protection, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return b
}

// forbidden is memory that can't be read or written.
func forbidden(t *testing.T) []byte { return mapped(t, 4096, unix.PROT_NONE) }

// owned holds the descriptors that the running test must close.
var owned = map[int]bool{}

// own closes fd after the test, unless drop did.
func own(t *testing.T, fd int) int {
	owned[fd] = true
	t.Cleanup(func() {
		if owned[fd] {
			drop(fd)
		}
	})
	return fd
}

// drop closes a descriptor of own.
func drop(fd int) {
	delete(owned, fd)
	unix.Close(fd)
}

func pipe(t *testing.T, flags int) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], flags|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return own(t, p[0]), own(t, p[1])
}

func socketpair(t *testing.T, kind int) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return own(t, p[0]), own(t, p[1])
}

func open(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	return own(t, fd)
}

// listener is a TCP socket that listens on the loopback address.
func listener(t *testing.T, flags int) (fd int, address *unix.SockaddrInet4) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	own(t, fd)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 8))
	name, err := unix.Getsockname(fd)
	must(t, err)
	return fd, name.(*unix.SockaddrInet4)
}

func connect(t *testing.T, address *unix.SockaddrInet4) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	own(t, fd)
	must(t, unix.Connect(fd, address))
	return fd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text makes a string for calls that take a path.
func text(t *testing.T, s string) *byte {
	t.Helper()
	p, err := child.PrepareString(s)
	must(t, err)
	return p
}

// waitUntil looks until it sees what it waits for: a state of the child, which
// then holds. A child that never gets there is ended.
func waitUntil(t *testing.T, pid int, what string, seen func() bool) {
	t.Helper()
	for end := time.Now().Add(forktest.Watchdog); !seen(); runtime.Gosched() {
		if time.Now().After(end) {
			state := watchdog.State(pid)
			unix.Kill(pid, unix.SIGKILL)
			forktest.Wait(t, pid)
			t.Fatalf("child %d: not %s after %v:\n%s", pid, what, forktest.Watchdog, state)
		}
	}
}

// waitInCall waits until the child sleeps in a system call.
func waitInCall(t *testing.T, pid int, trap int) {
	t.Helper()
	waitUntil(t, pid, fmt.Sprintf("in system call %d", trap), func() bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		must(t, err)
		number, _, _ := strings.Cut(string(line), " ")
		return number == strconv.Itoa(trap)
	})
}

// stopAndContinue stops the child where it is, and lets it go on.
func stopAndContinue(t *testing.T, pid int) {
	t.Helper()
	var status unix.WaitStatus
	must(t, unix.Kill(pid, unix.SIGSTOP))
	if _, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("child %d: status %#x, error %v, want it stopped", pid, status, err)
	}
	must(t, unix.Kill(pid, unix.SIGCONT))
}

// descriptors lists the open descriptors of a process.
func descriptors(t *testing.T, pid int) []string {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	must(t, err)
	var open []string
	for _, e := range entries {
		open = append(open, e.Name())
	}
	return open
}

// sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const (
	saRestorer = 0x04000000
	saOnStack  = 0x08000000
)

// counter makes a signal handler out of a few instructions, since one in Go would
// need what a child hasn't. It counts the signals that it handled. It runs on the
// signal stack that every thread of a Go program has, and without SA_RESTART.
func counter(t *testing.T) (action *sigaction, handled *uint64) {
	t.Helper()
	handled = shared[uint64](t)
	code, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	must(t, err)
	t.Cleanup(func() { unix.Munmap(code) })
	const restorer, literal = 32, 64
	word := binary.LittleEndian.AppendUint32
	switch runtime.GOARCH {
	case "amd64":
		copy(code, []byte{0x48, 0x8b, 0x05, literal - 7, 0, 0, 0, // mov rax, [rip+…]
			0xf0, 0x48, 0xff, 0x00, // lock inc qword [rax]
			0xc3}) // ret
		copy(code[restorer:], []byte{0xb8, unix.SYS_RT_SIGRETURN, 0, 0, 0, 0x0f, 0x05}) // mov eax, …; syscall
	case "arm64": // the kernel's own restorer does
		var b []byte
		b = word(b, 0x58000000|(literal/4)<<5) // ldr x0, literal
		b = word(b, 0xf9400001)                // ldr x1, [x0]
		b = word(b, 0x91000421)                // add x1, x1, #1
		b = word(b, 0xf9000001)                // str x1, [x0]
		b = word(b, 0xd65f03c0)                // ret
		copy(code, b)
	}
	binary.LittleEndian.PutUint64(code[literal:], uint64(uintptr(unsafe.Pointer(handled))))
	must(t, unix.Mprotect(code, unix.PROT_READ|unix.PROT_EXEC))
	start := uintptr(unsafe.Pointer(&code[0]))
	action = &sigaction{handler: start, flags: saOnStack}
	if runtime.GOARCH == "amd64" {
		action.flags |= saRestorer
		action.restorer = start + restorer
	}
	return action, handled
}

// handle sets the action of a signal in the child.
//
//go:nosplit
//go:norace
func handle(sig syscall.Signal, action *sigaction) syscall.Errno {
	_, errno := child.Syscall(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(action)), 0, 8, 0, 0)
	return errno
}

// limitFDs lowers the child's limit on descriptors to n.
//
//go:nosplit
//go:norace
func limitFDs(n uint64) syscall.Errno {
	limit := unix.Rlimit{Cur: n, Max: n}
	_, errno := child.Syscall(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	return errno
}

// becomeNobody makes the child, which may be root's, an ordinary user's.
//
//go:nosplit
//go:norace
func becomeNobody() syscall.Errno {
	_, errno := child.Syscall(unix.SYS_SETUID, 65534, 0, 0, 0, 0, 0)
	return errno
}
