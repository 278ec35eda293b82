// Package probe explores fork from ordinary Go: a child that does what its
// parent says.
//
// The child of a real fork in a Go program can't run ordinary Go. So it runs a
// small loop that makes system calls and reads or writes its own memory on the
// parent's order, and all logic stays in the parent: in a test, with the testing
// package and go-cmp.
//
//	x := 1
//	p, err := probe.Fork()
//	if err != nil { … }
//	defer p.Close()
//	err = probe.Store(p, &x, 2)  // in the child's copy
//	y, err := probe.Load(p, &x)
//	fmt.Println(x, y)            // 1 2: copy-on-write
//
//	ppid, err := p.Getppid()     // the child makes the call
//	g, err := p.Fork()           // a grandchild, driven the same way
//	n, err := p.Syscall(unix.SYS_FCNTL, 0, unix.F_GETFD)
//	err = p.Exit(7)
//	status, err := p.Wait()
//
// Probes are real where rawfork.Fork is: linux/amd64 and linux/arm64 with cgo,
// from Linux 5.9 on. Elsewhere [Fork] returns [errors.ErrUnsupported].
package probe
