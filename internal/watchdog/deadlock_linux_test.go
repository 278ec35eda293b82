//go:build cgo && (amd64 || arm64)

package watchdog_test

import (
	"context"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/internal/watchdog"
	"rawfork/probe"
)

func TestMain(m *testing.M) { forktest.Main(m, nil) }

// Only who waits in memory of its own, without a time limit, is deadlocked.
func TestDeadlocked(t *testing.T) {
	const wait, private, waitBitset = 0, 128, 9
	var word, other uint32
	minute := unix.Timespec{Sec: 60}
	for name, test := range map[string]struct {
		trap uintptr
		args []any
		want bool
	}{
		"private":        {unix.SYS_FUTEX, []any{&word, private | wait, 0, nil}, true},
		"bitset":         {unix.SYS_FUTEX, []any{&word, private | waitBitset, 0, nil, &other, 1}, true},
		"a time limit":   {unix.SYS_FUTEX, []any{&word, private | wait, 0, &minute}, false},
		"shared":         {unix.SYS_FUTEX, []any{&word, wait, 0, nil}, false},
		"no futex":       {unix.SYS_PPOLL, []any{nil, 0, nil, nil, 0}, false},
		"not in a futex": {unix.SYS_NANOSLEEP, []any{&minute, nil}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := probe.Fork()
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if err := p.Start(test.trap, test.args...).Blocked(); err != nil {
				t.Fatal(err)
			}
			if got := watchdog.Deadlocked(p.Pid()); got != test.want {
				t.Errorf("deadlocked: %v, want %v", got, test.want)
			}
		})
	}
	if watchdog.Deadlocked(unix.Getpid()) {
		t.Error("this process, which runs, is deadlocked")
	}
}

// A child that waits for nobody is found hung long before the limit.
func TestDeadlockNeedsNoLimit(t *testing.T) {
	pid, err := rawfork.Fork()
	if err != nil {
		t.Fatal(err)
	}
	if pid == 0 {
		waitForNobody()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, hung, err := watchdog.WaitInKernel(ctx, pid, time.Hour)
	if err != nil || !strings.Contains(hung, "-- status\n") {
		t.Errorf("%v, hung %q, want its state", err, hung)
	}
}

var word uint32

//go:nosplit
//go:norace
func waitForNobody() {
	const private = 128
	child.Syscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&word)), private, 0, 0, 0, 0)
	child.Exit(1)
}
