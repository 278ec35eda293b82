//go:build linux

package procstate_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"rawfork/procstate"
)

// What a process has that its parent hasn't: cat, blocked in its first read.
func Example() {
	cat := exec.Command("cat")
	in, _ := cat.StdinPipe()
	out, _ := cat.StdoutPipe()
	cat.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cat.Start(); err != nil {
		fmt.Println(err)
		return
	}
	in.Write([]byte("x"))
	out.Read(make([]byte, 1)) // an echo: it runs

	parent, _ := procstate.Self()
	child, err := procstate.Read(cat.Process.Pid)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(child.PPID == os.Getpid(), child.SID == child.PID, child.Argv)
	fmt.Println(child.Descriptors[0].Flags, child.Descriptors[1].Flags)
	for _, c := range procstate.Changes(parent, child) {
		if c.Field == "Name" || c.Field == "Caught" {
			fmt.Println(c.Field, c.Kind, c.B)
		}
	}
	in.Close()
	cat.Wait()
	// Output:
	// true true [cat]
	// O_RDONLY O_WRONLY
	// Name changed "cat"
	// Caught changed none
}

func ExampleDiff() {
	old := syscall.Umask(0o022)
	before, _ := procstate.Self()
	syscall.Umask(0o077)
	after, _ := procstate.Self()
	syscall.Umask(old)
	fmt.Print(procstate.Diff(before, after, "Run", "Memory", "Maps", "Threads", "Descriptors"))
	// Output:
	// Umask: 0022 → 0077
}
