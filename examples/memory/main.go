//go:build unix

// Memory shows that parent and child have memory of their own (C6).
//
// The child starts with a copy of all variables, at the same addresses. What one
// process changes after the fork the other never sees, in either direction: the
// child's 2 doesn't reach the parent, the parent's 3 doesn't reach the child.
//
//	$ go run ./examples/memory
//	before the fork: x is 1
//	child: x is 1, I make it 2
//	parent: x is still 1, I make it 3
//	child: x is still 2
package main

import (
	"fmt"
	"log"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
)

var x = 1

func main() {
	log.SetFlags(0)
	log.SetPrefix("memory: ")
	pair, err := turn.New()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("before the fork: x is", x)

	pid, err := rawfork.Fork()
	if err != nil {
		log.Fatal(err)
	}
	if pid == 0 {
		parent := pair.Child()
		var line child.Line
		line.Text("child: x is ").Int(x).Text(", I make it 2\n").Write(1)
		x = 2
		parent.Tell()
		parent.Await()
		line.Text("child: x is still ").Int(x).Text("\n").Write(1)
		child.Exit(x)
	}
	other := pair.Parent()
	if err := other.Await(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("parent: x is still %d, I make it 3\n", x)
	if x != 1 {
		log.Fatal("the child changed the parent's memory")
	}
	x = 3
	if err := other.Tell(); err != nil {
		log.Fatal(err)
	}
	status, err := rawfork.Wait(pid)
	if err != nil {
		log.Fatal(err)
	}
	if status.ExitStatus() != 2 {
		log.Fatal("the parent changed the child's memory")
	}
}
