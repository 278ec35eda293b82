//go:build linux && cgo && (amd64 || arm64)

package probe_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/internal/forktest"
	"rawfork/probe"
)

// When the parent ends, in whatever way, its probes end, theirs too.
func TestParentsDeath(t *testing.T) {
	for _, sig := range []syscall.Signal{0, syscall.SIGKILL} {
		t.Run(fmt.Sprint("signal ", int(sig)), func(t *testing.T) {
			cmd := forktest.Command(t, "parentOfProbes")
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			check(t, err)
			in, err := cmd.StdinPipe()
			check(t, err)
			check(t, cmd.Start())
			var pids [3]int
			_, err = fmt.Fscan(out, &pids[0], &pids[1], &pids[2])
			check(t, err)
			if sig != 0 {
				check(t, cmd.Process.Signal(sig))
			}
			in.Close()
			if err := cmd.Wait(); (err != nil) != (sig != 0) {
				t.Errorf("the parent: %v", err)
			}
			// This process is a subreaper: orphans become its children.
			for _, pid := range pids {
				forktest.WantExit(t, pid, 0)
			}
		})
	}
}

// parentOfProbes forks a probe that has a child and a grandchild, says their pids,
// and ends when its input does.
func parentOfProbes() {
	var t plain
	p, err := probe.Fork()
	t.check(err)
	g, err := p.Fork()
	t.check(err)
	gg, err := g.Fork()
	t.check(err)
	fmt.Println(p.Pid(), g.Pid(), gg.Pid())
	io.Copy(io.Discard, os.Stdin)
}

// plain checks errors where there is no test.
type plain struct{}

func (plain) check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A grandchild whose parent ends is an orphan, given to this process, which is a
// subreaper; it serves on, and is reaped here.
func TestOrphan(t *testing.T) {
	p := fork(t)
	g, err := p.Fork()
	check(t, err)
	check(t, p.Exit(0))
	_, err = p.Wait()
	check(t, err)
	ppid, err := g.Getppid()
	check(t, err)
	equal(t, "ppid of the orphan", ppid, os.Getpid())
	gg, err := g.Fork()
	check(t, err)
	check(t, g.Kill(unix.SIGKILL))
	status, err := g.Wait()
	check(t, err)
	equal(t, "status", status.Signal(), unix.SIGKILL)
	ppid, err = gg.Getppid()
	check(t, err)
	equal(t, "ppid of the second orphan", ppid, os.Getpid())
	check(t, p.Close()) // ends the grandchildren that are left
	_, err = gg.Getppid()
	wantErr(t, "an orphan that was closed with its parent", err, os.ErrClosed)
}

// Every way to use a child that has ended gives an error that says how it ended.
func TestEveryCallToTheDead(t *testing.T) {
	x := new(int)
	for _, c := range []struct {
		how  string
		end  func(p *probe.Probe) error
		want string
	}{
		{"exit", func(p *probe.Probe) error { return p.Exit(3) }, "ended with exit status 3"},
		{"signal", func(p *probe.Probe) error { return p.Kill(unix.SIGKILL) }, "was killed by signal 9, killed"},
		{"fault", func(p *probe.Probe) error {
			p.Syscall(unix.SYS_MUNMAP, probe.Addr(&text)&^4095, 4096) // its code, maybe
			return p.Kill(unix.SIGSEGV)
		}, "was killed by signal 11, segmentation fault"},
	} {
		t.Run(c.how, func(t *testing.T) {
			p := fork(t)
			check(t, c.end(p))
			for name, err := range everyCall(p, x) {
				var dead *probe.DeadError
				if !errors.As(err, &dead) || !dead.Known || dead.Pid != p.Pid() {
					t.Errorf("%s: %v, want a DeadError with a status", name, err)
				} else if !strings.HasSuffix(err.Error(), fmt.Sprintf("child %d %s", p.Pid(), c.want)) {
					t.Errorf("%s: %v, want %q at the end", name, err, c.want)
				}
			}
		})
	}
}

var text byte

// everyCall makes every kind of request and returns its errors.
func everyCall(p *probe.Probe, x *int) map[string]error {
	errs := map[string]error{"store": probe.Store(p, x, 1), "poke": p.Poke(probe.Addr(x), []byte{1}),
		"exec": p.Exec("/nonexistent", nil, nil), "keep only": p.KeepOnly(2), "raise": p.Raise(unix.SIGURG)}
	_, errs["load"] = probe.Load(p, x)
	_, errs["peek"] = p.Peek(probe.Addr(x), 1)
	_, errs["syscall"] = p.Syscall(unix.SYS_GETPID)
	_, errs["start"] = p.Start(unix.SYS_GETPID).Wait()
	_, errs["fork"] = p.Fork()
	_, errs["clone"] = p.Clone(uint64(unix.SIGCHLD))
	_, errs["sigaction"] = p.Sigaction(unix.SIGURG, nil)
	_, errs["handled"] = p.Handled(unix.SIGURG)
	_, errs["place"] = p.Place([]byte{1})
	return errs
}

// Every call to a child that doesn't answer ends at its deadline, and the child
// is of use again when it does.
func TestEveryDeadline(t *testing.T) {
	x := new(int)
	p := fork(t)
	g, err := p.Fork()
	check(t, err)
	check(t, g.Kill(unix.SIGSTOP))
	_, err = p.Waitid(unix.P_PID, g.Pid(), unix.WSTOPPED)
	check(t, err)
	g.SetTimeout(time.Millisecond)
	errs := everyCall(g, x)
	errs["exit"] = g.Exit(0)
	_, errs["wait"] = g.Wait()
	for name, err := range errs {
		wantErr(t, name, err, os.ErrDeadlineExceeded)
	}
	g.SetTimeout(0)
	check(t, g.Kill(unix.SIGCONT))
	// Everything is done that was asked for, the exit last.
	status, err := g.Wait()
	check(t, err)
	equal(t, "status", status.ExitStatus(), 0)
}

// A variable with pointers in it is refused, with the place where they are.
func TestPointersAreRefused(t *testing.T) {
	p := fork(t)
	type inner struct {
		N    int
		List [2][]byte
	}
	type outer struct{ In inner }
	for want, err := range map[string]error{
		"load *string: type string has a pointer":             second(probe.Load(p, new(string))),
		"load *[]int: type []int has a pointer":               second(probe.Load(p, new([]int))),
		"load *map[int]int: type map[int]int has":             second(probe.Load(p, new(map[int]int))),
		"load *error: type error has a pointer":               second(probe.Load(p, new(error))),
		"load *func(): type func() has a pointer":             second(probe.Load(p, new(func()))),
		"load *chan int: type chan int has a pointer":         second(probe.Load(p, new(chan int))),
		"load **int: type *int has a pointer":                 second(probe.Load(p, new(*int))),
		"probe_test.inner: field List: type []uint8 has a":    second(probe.Load(p, new(outer))),
		"store *probe_test.outer: probe_test.outer: field In": probe.Store(p, new(outer), outer{}),
		"load *int: nil pointer":                              second(probe.Load(p, (*int)(nil))),
		"argument 2: type string has a pointer":               second(p.Syscall(unix.SYS_GETPID, 0, []string{"x"})),
		"argument 1: a float64 is no integer, string":         second(p.Syscall(unix.SYS_GETPID, 1.5)),
		"argument 1: string \"a\\x00b\" with a NUL byte":      second(p.Syscall(unix.SYS_GETPID, "a\x00b")),
		"7 arguments, want at most 6":                         second(p.Syscall(unix.SYS_GETPID, 1, 2, 3, 4, 5, 6, 7)),
	} {
		wantErr(t, want, err, unix.EINVAL)
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %q, want %q in it", err, want)
		}
	}
	type point struct {
		X, Y float64
		Name [4]byte
	}
	v := &point{1, 2, [4]byte{'a'}}
	check(t, probe.Store(p, v, point{3, 4, [4]byte{'b'}}))
	got, err := probe.Load(p, v)
	check(t, err)
	equal(t, "a struct without pointers", got, point{3, 4, [4]byte{'b'}})
}

func second[T any](_ T, err error) error { return err }
