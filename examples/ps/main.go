//go:build unix

// Ps shows processes as ps does, and what each has of its own (C1): a pid, open
// files, connections, memory, an environment, a current directory.
//
// A child starts with a copy of it all. It then closes what it doesn't need,
// goes to another directory and writes to 32 MB; the parent's column stays as it
// was.
//
//	$ go run ./examples/ps
//	    PID TTY      STAT   TIME COMMAND
//	  30420 ?        Rl     0:00 ps
//	  30426 ?        R      0:00 ps
//	                   parent        child
//	pid                 30420        30426
//	open files              9            4
//	connections             2            1
//	memory, MB              5           34
//	environment            42           42
//	directory               /        /proc
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"strings"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
	"rawfork/internal/ps"
	"rawfork/procstate"
)

const mb = 1 << 20

// attributes is what a process has of its own, in the order of names.
type attributes [6]any

var names = attributes{"pid", "open files", "connections", "memory, MB", "environment", "directory"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("ps: ")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	memory := make([]byte, 32*mb) // the kernel gives its pages when they are written to
	directory, err := child.PrepareString("/proc")
	check(err)
	pair, err := turn.New()
	check(err)

	pid, err := rawfork.Fork()
	if pid == 0 {
		parent := pair.Child()
		child.KeepOnly(0, 1, 2, int(parent))
		child.Chdir(directory)
		for i := 0; i < len(memory); i += 4096 {
			memory[i] = 1
		}
		parent.Tell()
		parent.Await()
		child.Exit(0)
	}
	check(err)
	other := pair.Parent()
	check(other.Await())
	fmt.Println(ps.Header)
	for _, pid := range []int{os.Getpid(), pid} {
		line, err := ps.Line(pid)
		check(err)
		fmt.Println(line)
	}
	mine, its := of(procstate.Self()), of(procstate.Read(pid))
	fmt.Printf("%-12s %12v %12v\n", "", "parent", "child")
	for i, name := range names {
		fmt.Printf("%-12s %12v %12v\n", name, mine[i], its[i])
		if mine[i] == its[i] && name != "environment" {
			log.Fatalf("the child's %s is not its own", name)
		}
	}
	check(other.Tell())
	_, err = rawfork.Wait(pid)
	check(err)
	check(listener.Close())
}

// of picks the attributes from the state of a process.
func of(state *procstate.State, err error) attributes {
	check(err)
	connections := 0
	for _, d := range state.Descriptors {
		connections += strings.Count(d.Target, "socket:")
	}
	return attributes{state.PID, len(state.Descriptors), connections,
		state.Memory.Rss / mb, len(state.Env), state.Cwd.Name}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
