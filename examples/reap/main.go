//go:build unix

// Reap is the zombie solution by signal (C11): a handler for SIGCHLD that loops
// on waitpid(-1, WNOHANG) until nothing is left.
//
// The loop is needed because signals don't queue: the ten children here die at
// once, and far fewer than ten signals may tell of it. The parent is asleep
// meanwhile, and sleeps for its full time although signals arrive.
//
// waitpid(-1) takes any child's status, also that of a program started by
// os/exec, whose Wait then fails. It suits a program whose children are all its
// own; others use package reap.
//
//	$ go run ./examples/reap
//	10 children wait to die
//	parent: I sleep for 500ms
//	reaped pid 30085, exit status 0
//	reaped pid 30087, exit status 1
//	reaped pid 30089, exit status 2
//	reaped pid 30093, exit status 6
//	reaped pid 30096, exit status 8
//	reaped pid 30097, exit status 9
//	reaped pid 30095, exit status 7
//	reaped pid 30091, exit status 4
//	reaped pid 30090, exit status 3
//	reaped pid 30092, exit status 5
//	parent: I slept for my full time
//	10 children reaped, signals taken: 5
package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"rawfork"
	"rawfork/child"
)

const (
	children = 10
	pause    = 500 * time.Millisecond
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("reap: ")
	sigchld := make(chan os.Signal, 1)
	signal.Notify(sigchld, syscall.SIGCHLD)
	gate, open, err := os.Pipe()
	check(err)
	gateFD, openFD := int(gate.Fd()), int(open.Fd())
	for number := range children {
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Close(openFD)
			var b [1]byte
			child.Read(gateFD, b[:]) // returns when nobody holds the other end
			child.Exit(number)
		}
		check(err)
	}
	check(gate.Close())
	fmt.Println(children, "children wait to die")

	done := make(chan string)
	go func() { done <- handle(sigchld) }()
	start := time.Now()
	fmt.Println("parent: I sleep for", pause)
	check(open.Close()) // opens the gate: all children die
	time.Sleep(pause)
	if slept := time.Since(start); slept < pause {
		log.Fatalf("slept for %v only", slept)
	}
	fmt.Println("parent: I slept for my full time")
	fmt.Println(<-done)
}

// handle is the signal handler. It returns when all children are reaped.
func handle(sigchld <-chan os.Signal) string {
	reaped := 0
	for signals := 1; ; signals++ {
		<-sigchld
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if err == syscall.ECHILD { // no child is left at all
				if reaped != children {
					log.Fatalf("reaped %d children of %d", reaped, children)
				}
				return fmt.Sprintf("%d children reaped, signals taken: %d", reaped, signals)
			}
			check(err)
			if pid == 0 { // those that are left live
				break
			}
			reaped++
			fmt.Printf("reaped pid %d, exit status %d\n", pid, status.ExitStatus())
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
