//go:build linux && cgo && (amd64 || arm64)

package probe_test

import (
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rawfork/internal/load"
	"rawfork/probe"
)

// Under every load of the parent and with 1, 2 and 8 Ps a probe and its child do
// what they are told.
func TestUnderLoad(t *testing.T) {
	for _, procs := range []int{1, 2, 8} {
		for _, l := range load.All() {
			t.Run(fmt.Sprintf("procs=%d/%s", procs, l.Name), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				stop, err := l.Start()
				check(t, err)
				defer stop()
				for range 2 {
					useProbe(t)
				}
			})
		}
	}
}

// useProbe forks a probe that forks another, uses both and ends them.
func useProbe(t testing.TB) {
	x := new(int)
	*x = 1
	p, err := probe.Fork()
	check(t, err)
	defer func() { check(t, p.Close()) }()
	check(t, probe.Store(p, x, 2))
	g, err := p.Fork()
	check(t, err)
	check(t, probe.Store(g, x, 3))
	for i, q := range []*probe.Probe{p, g} {
		got, err := probe.Load(q, x)
		check(t, err)
		equal(t, "the variable in the child", got, 2+i)
		pid, err := q.Getpid()
		check(t, err)
		equal(t, "pid", pid, q.Pid())
		buf := make([]byte, 10)
		n, err := q.Syscall(unix.SYS_GETCWD, buf, 1)
		if err != syscall.Errno(0) && n != ^uintptr(0) {
			t.Errorf("getcwd with a buffer of 1 byte: %d, %v", n, err)
		}
	}
	equal(t, "the variable in the parent", *x, 1)
	check(t, g.Exit(5))
	status, err := g.Wait()
	check(t, err)
	equal(t, "status", status.ExitStatus(), 5)
}

// Goroutines that use one probe at the same time each get the answers to their
// own calls.
func TestManyGoroutinesOneProbe(t *testing.T) {
	p := fork(t)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			addr, err := p.Place([]byte{byte(i)})
			if err != nil {
				t.Error(err)
				return
			}
			for n := range 20 {
				want := byte(i + n)
				if err := p.Poke(addr, []byte{want}); err != nil {
					t.Error(err)
					return
				}
				got, err := p.Peek(addr, 1)
				if err != nil || got[0] != want {
					t.Errorf("goroutine %d: %v, %v, want %d", i, got, err, want)
					return
				}
				call := p.Start(unix.SYS_GETPGID, n*0)
				if pid, err := p.Getpid(); err != nil || pid != p.Pid() {
					t.Errorf("getpid: %d, %v, want %d", pid, err, p.Pid())
				}
				if pgid, err := call.Wait(); err != nil || int(pgid) != unix.Getpgrp() {
					t.Errorf("getpgid: %d, %v, want %d", pgid, err, unix.Getpgrp())
				}
			}
		})
	}
	group.Wait()
}

// Probes are forked, used and closed by many goroutines at the same time.
func TestManyProbes(t *testing.T) {
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 3 {
				useProbe(failer{t})
			}
		})
	}
	group.Wait()
}

// failer is a test in which a Fatal ends a goroutine of its own.
type failer struct{ testing.TB }

func (f failer) Fatal(args ...any) {
	f.Error(args...)
	runtime.Goexit()
}

// A grandchild is forked by one goroutine while others use and close probes.
func TestForkBesideClose(t *testing.T) {
	p := fork(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				g, err := p.Fork()
				if err != nil {
					t.Error(err)
					return
				}
				if err := g.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	_, err := p.Waitid(unix.P_ALL, 0, unix.WEXITED|unix.WNOHANG)
	wantErr(t, "children left", err, unix.ECHILD)
}
