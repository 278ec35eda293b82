//go:build unix

// Descriptors shows that a close doesn't close what somebody else holds too (C8).
//
// The parent closes its end of a connection. The client waits on, since a child
// holds that end too: fork gave it a copy of every descriptor. When the child
// closes it, the end arrives.
//
//	$ go run ./examples/descriptors
//	parent closed the connection: the client sees no end
//	child closed it too: the client sees the end
package main

import (
	"fmt"
	"log"
	"syscall"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("descriptors: ")
	pair, err := turn.New()
	check(err)
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	check(err)
	client, server := fds[0], fds[1]
	pid, err := rawfork.Fork()
	if pid == 0 {
		parent := pair.Child()
		child.Close(client) // not needed here: closed right after the fork
		parent.Await()
		child.Close(server)
		parent.Tell()
		parent.Await()
		child.Exit(0)
	}
	check(err)
	other := pair.Parent()
	check(syscall.Close(server))
	if ended(client) {
		log.Fatal("the connection ended with the parent's close")
	}
	fmt.Println("parent closed the connection: the client sees no end")
	check(other.Tell())
	check(other.Await())
	if !ended(client) {
		log.Fatal("the connection didn't end with the child's close")
	}
	fmt.Println("child closed it too: the client sees the end")
	check(other.Tell())
	_, err = rawfork.Wait(pid)
	check(err)
}

// ended tells whether a read would find the end of the connection now.
func ended(fd int) bool {
	n, _, err := syscall.Recvfrom(fd, make([]byte, 1), syscall.MSG_DONTWAIT)
	if err == syscall.EAGAIN {
		return false
	}
	check(err)
	return n == 0
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
