//go:build linux && cgo && (amd64 || arm64)

package probe_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"rawfork/internal/leftover"
	"rawfork/probe"
)

// descriptors are the child's, but for its own of the probe.
func descriptors(t testing.TB, p *probe.Probe) []int {
	t.Helper()
	state, err := p.State()
	check(t, err)
	var fds []int
	for fd := range state.Descriptors {
		fds = append(fds, fd)
	}
	slices.Sort(fds)
	return fds
}

// After KeepOnly the child has these descriptors and the probe's own, no other.
func TestKeepOnly(t *testing.T) {
	for _, c := range []struct {
		name string
		keep []int
		want []int
	}{
		{"none", nil, nil},
		{"standard", []int{0, 1, 2}, []int{0, 1, 2}},
		{"in any order, one twice", []int{100, 1, 700, 1}, []int{1, 100, 700}},
		{"neighbours", []int{700, 701, 699}, []int{699, 700, 701}},
		{"one that isn't open", []int{2, 333}, []int{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := fork(t)
			for _, fd := range []int{100, 101, 699, 700, 701} {
				_, err := p.Dup3(2, fd, 0)
				check(t, err)
			}
			check(t, p.KeepOnly(c.keep...))
			equal(t, "descriptors", descriptors(t, p), c.want)
			g, err := p.Fork() // whose socket comes by that of p
			check(t, err)
			equal(t, "descriptors of a child", descriptors(t, g), c.want)
			check(t, g.KeepOnly())
			equal(t, "descriptors of a child that kept none", len(descriptors(t, g)), 0)
			_, err = p.Getpid()
			check(t, err)
		})
	}
	p := fork(t)
	wantErr(t, "a descriptor below 0", p.KeepOnly(-1), unix.EINVAL)
}

// A child has none of the descriptors by which its parent holds it and others,
// so a probe ends when the parent's end closes, whatever other probes there are.
func TestProbesDoNotHoldEachOther(t *testing.T) {
	first := fork(t)
	second := fork(t)
	g, err := second.Fork()
	check(t, err)
	for _, p := range []*probe.Probe{first, second, g} {
		for _, fd := range descriptors(t, p) {
			if fd >= 512 {
				t.Errorf("probe %d has descriptor %d", p.Pid(), fd)
			}
		}
	}
}

// After Close, and after every call that failed, the parent has the descriptors
// that it had before. (TestMain looks for processes that are left.)
func TestLeaksNothing(t *testing.T) {
	before := leftover.Descriptors()
	p, err := probe.Fork()
	check(t, err)
	g, err := p.Fork()
	check(t, err)
	_, err = p.Clone(unix.CLONE_VM)
	wantErr(t, "clone", err, unix.EINVAL)
	for _, flags := range []uint64{0, unix.CLONE_VFORK} { // refused by the kernel
		_, err = p.Clone(flags | unix.CLONE_NEWNS | unix.CLONE_FS)
		wantErr(t, "clone", err, unix.EINVAL)
	}
	check(t, g.Kill(unix.SIGKILL))
	if _, err := g.Fork(); !errors.As(err, new(*probe.DeadError)) {
		t.Errorf("fork of a child that was killed: %v", err)
	}
	check(t, p.Exit(0))
	check(t, p.Close())
	check(t, p.Close())
	_, err = p.Fork()
	wantErr(t, "fork of a closed probe", err, os.ErrClosed)
	equal(t, "descriptors", leftover.Descriptors(), before)
}

// Where no more descriptors may be made, Fork says so and leaves nothing.
func TestForkWithoutDescriptors(t *testing.T) {
	p := fork(t)
	var limit unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	before := leftover.Descriptors()
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}))
	_, err := probe.Fork()
	_, errOfChild := p.Fork()
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	wantErr(t, "fork", err, unix.EMFILE)
	wantErr(t, "fork of the child", errOfChild, unix.EMFILE)
	equal(t, "descriptors", leftover.Descriptors(), before)
	useProbe(t)
}
