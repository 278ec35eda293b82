// Firstfork is the first fork of all: one process becomes two (C5).
//
// The line before the fork comes once. Then parent and child each print a line
// of their own, in either order, since nothing but the scheduler decides who
// runs first. A second later the last line comes twice: it stands after the if,
// and both processes get there.
//
//	$ go run ./examples/firstfork
//	before the fork: pid 29949
//	parent: fork returned 29954, I am pid 29949
//	child: fork returned 0, I am pid 29954
//	both get here: pid 29954
//	both get here: pid 29949
package main

import (
	"fmt"
	"log"
	"os"
	"time"

	"rawfork"
	"rawfork/child"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("firstfork: ")
	fmt.Println("before the fork: pid", os.Getpid())

	pid, err := rawfork.Fork()
	if err != nil {
		log.Fatal(err)
	}
	// From here on this code runs in two processes. What both execute keeps to
	// package child, whose functions are ordinary system calls in a parent.
	var line child.Line
	if pid == 0 {
		line.Text("child: fork returned 0, I am pid ").Int(child.Getpid()).Text("\n").Write(1)
	} else {
		line.Text("parent: fork returned ").Int(pid).
			Text(", I am pid ").Int(child.Getpid()).Text("\n").Write(1)
	}
	child.Sleep(time.Second)
	line.Text("both get here: pid ").Int(child.Getpid()).Text("\n").Write(1)

	if pid == 0 {
		child.Exit(0)
	}
	if _, err := rawfork.Wait(pid); err != nil {
		log.Fatal(err)
	}
}
