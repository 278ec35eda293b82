//go:build linux

// Orphan shows who inherits a child whose parent ends first (C13): init, which
// is pid 1, or the nearest ancestor that has made itself a subreaper. The new
// parent must reap it, as if the orphan were a child of its own.
//
// A child forks a grandchild and exits. When the child is reaped, the kernel has
// given the grandchild away, and the grandchild says who its parent is now.
//
//	$ go run ./examples/orphan
//	orphan pid 30179: my parent was pid 30177, now it is pid 1
//	pid 30171 is a subreaper now
//	orphan pid 30181: my parent was pid 30180, now it is pid 30171
//	reaped pid 30181, exit status 7
package main

import (
	"fmt"
	"log"
	"os"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("orphan: ")
	self := os.Getpid()
	if _, parent := orphan(); parent == self && self != 1 {
		log.Fatal("the orphan came to a process that is no subreaper")
	}
	check(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	fmt.Printf("pid %d is a subreaper now\n", self)
	pid, parent := orphan()
	if parent != self {
		log.Fatalf("the orphan's parent is pid %d, not the subreaper", parent)
	}
	status, err := rawfork.Wait(pid)
	check(err)
	fmt.Printf("reaped pid %d, exit status %d\n", pid, status.ExitStatus())
	if status.ExitStatus() != 7 {
		log.Fatalf("orphan: wait status %#x, want exit status 7", status)
	}
}

// orphan makes an orphan and returns its pid and that of its new parent. The
// orphan exits with 7.
func orphan() (pid, parent int) {
	pair, err := turn.New()
	check(err)
	report, write, err := os.Pipe()
	check(err)
	reportFD := int(write.Fd())
	middle, err := rawfork.Fork()
	if middle == 0 {
		first := pair.Child()
		was := child.Getpid()
		if pid, errno := child.Fork(); pid != 0 { // the child, or no grandchild
			child.Exit(int(errno))
		}
		first.Await() // until the child is reaped
		var line child.Line
		line.Text("orphan pid ").Int(child.Getpid()).Text(": my parent was pid ").Int(was).
			Text(", now it is pid ").Int(child.Getppid()).Text("\n").Write(1)
		line.Int(child.Getpid()).Text(" ").Int(child.Getppid()).Text("\n").Write(reportFD)
		child.Exit(7)
	}
	check(err)
	check(write.Close())
	other := pair.Parent()
	status, err := rawfork.Wait(middle)
	check(err)
	if status != 0 {
		log.Fatalf("child: wait status %#x", status)
	}
	check(other.Tell())
	_, err = fmt.Fscan(report, &pid, &parent)
	check(err)
	if parent == middle {
		log.Fatalf("orphan %d has its dead parent %d still", pid, middle)
	}
	return pid, parent
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
