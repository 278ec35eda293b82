//go:build linux && cgo && (amd64 || arm64)

package probetest_test

import (
	"fmt"
	"io"
	"os"

	"rawfork/probe"
	"rawfork/probe/probetest"
)

// Copy-on-write: what one process writes the other doesn't see.
func ExampleFork() {
	t := &fake{name: "ExampleFork"} // a *testing.T in a test
	defer t.end()

	x := new(int)
	p := probetest.Fork(t)
	*x = 1
	probetest.Want(t, 0)(probe.Load(p, x))
	probetest.OK(t, probe.Store(p, x, 2))

	fmt.Println("in the parent:", *x)
	// Output: in the parent: 1
}

// The offset of an open file is shared: the child reads on where the parent stopped,
// and the other way round.
func ExampleWant() {
	t := &fake{name: "ExampleWant"} // a *testing.T in a test
	defer t.end()

	f, err := os.Open("/proc/version")
	probetest.OK(t, err)
	defer f.Close()
	p := probetest.Fork(t)
	probetest.Want(t, 6)(p.Read(int(f.Fd()), make([]byte, 6)))

	offset, err := f.Seek(0, io.SeekCurrent)
	fmt.Println("the parent's offset:", offset, err)
	// Output: the parent's offset: 6 <nil>
}
