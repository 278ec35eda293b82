//go:build linux

// Descriptors shows what it means that parent and child hold the same
// descriptors (C8): two writers garble one stream, and a close doesn't close.
//
// Part one: two children write lines to one pipe, byte by byte, until the parent
// has read a line with both letters in it. It then closes the pipe's read end,
// which ends both children by SIGPIPE: nobody reads any more, since each has
// closed its own copy of that end.
//
// Part two: the parent closes its end of a connection. The client waits on,
// since a child holds that end too. When the child closes it, the end arrives.
//
//	$ go run ./examples/descriptors
//	two writers, one stream: aaaaaaaaaaaaaaaabaaaaaaaa
//	the reader is gone: both killed by SIGPIPE
//	parent closed the connection: the client sees no end
//	child closed it too: the client sees the end
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("descriptors: ")
	garble()
	closeTwice()
}

func garble() {
	read, write, err := os.Pipe()
	check(err)
	readFD, writeFD := int(read.Fd()), int(write.Fd())
	var pids []int
	for _, letter := range []string{"a", "b"} {
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Close(readFD)
			for {
				for range 24 {
					child.WriteString(writeFD, letter)
				}
				child.WriteString(writeFD, "\n")
			}
		}
		check(err)
		pids = append(pids, pid)
	}
	check(write.Close())
	lines := bufio.NewScanner(read)
	for lines.Scan() {
		if line := lines.Text(); strings.Contains(line, "a") && strings.Contains(line, "b") {
			fmt.Println("two writers, one stream:", line)
			break
		}
	}
	check(lines.Err())
	check(read.Close())
	for _, pid := range pids {
		status, err := rawfork.Wait(pid)
		check(err)
		if !status.Signaled() || status.Signal() != syscall.SIGPIPE {
			log.Fatalf("writer: wait status %#x, want death by SIGPIPE", status)
		}
	}
	fmt.Println("the reader is gone: both killed by SIGPIPE")
}

func closeTwice() {
	pair, err := turn.New()
	check(err)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
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
	check(unix.Close(server))
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
	n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_DONTWAIT)
	if err == unix.EAGAIN {
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
