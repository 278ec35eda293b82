//go:build linux && cgo && (amd64 || arm64)

package probe_test

import (
	"fmt"

	"golang.org/x/sys/unix"

	"rawfork/probe"
)

// A variable of the parent's is there in the child, as a copy.
func Example() {
	x := 1
	p, err := probe.Fork()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	x = 2
	err = probe.Store(p, &x, 3)
	y, err2 := probe.Load(p, &x)
	fmt.Println(x, y, err, err2)
	// Output: 2 3 <nil> <nil>
}

// A child's child is driven like a child, and its status told by its parent.
func ExampleProbe_Fork() {
	p, err := probe.Fork()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	g, err := p.Fork()
	if err != nil {
		fmt.Println(err)
		return
	}
	ppid, err := g.Getppid()
	fmt.Println(ppid == p.Pid(), err)

	err = g.Raise(unix.SIGTERM)
	status, err2 := g.Wait()
	fmt.Println(status.Signal(), err != nil, err2)
	// Output:
	// true <nil>
	// terminated true <nil>
}
