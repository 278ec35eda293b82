//go:build unix

// Garble shows two writers garbling one stream, since both hold it (C8). Two
// children write lines to one pipe, byte by byte, until the parent has read a line
// with both letters in it.
//
// The parent then closes the pipe's read end, which ends both children by SIGPIPE:
// nobody reads any more, since each has closed its own copy of that end.
//
//	$ go run ./examples/garble
//	two writers, one stream: aaaaaaaaaaaaaaaabaaaaaaaa
//	the reader is gone: both killed by SIGPIPE
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"strings"
	"syscall"

	"rawfork"
	"rawfork/child"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("garble: ")
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

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
