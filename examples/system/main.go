//go:build unix

// System builds system(3) out of fork, exec and wait (C7).
//
// The three are apart, so a parent may also start a program and go on, look
// whether it still runs, and block until it ends only when it wants to.
//
//	$ go run ./examples/system
//	hello from echo
//	echo: exit status 0
//	sh -c "exit 3": exit status 3
//	started cat in pid 30043 and went on: it runs
//	its input ends, and so does cat: exit status 0
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"syscall"

	"rawfork"
	"rawfork/child"
)

// start forks a child that execs the program and returns its pid. What can't be
// run is an error here, before the fork; what only exec finds ends the child
// with 127, as in a shell.
func start(stdin int, argv ...string) (pid int, err error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return -1, err
	}
	image, err := child.PrepareImage(path, argv, os.Environ())
	if err != nil {
		return -1, err
	}
	pid, err = rawfork.Fork()
	if pid == 0 {
		if stdin != 0 {
			child.Dup3(stdin, 0, 0)
		}
		child.Exec(image)
		child.Exit(127)
	}
	return pid, err
}

// wait blocks until the program ends, and returns its exit status.
func wait(pid int) int {
	status, err := rawfork.Wait(pid)
	check(err)
	return status.ExitStatus()
}

func system(argv ...string) int {
	pid, err := start(0, argv...)
	check(err)
	return wait(pid)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("system: ")
	fmt.Println("echo: exit status", want(0, system("echo", "hello from echo")))
	fmt.Println(`sh -c "exit 3": exit status`, want(3, system("sh", "-c", "exit 3")))

	// Cat runs for as long as its standard input is open.
	read, write, err := os.Pipe()
	check(err)
	pid, err := start(int(read.Fd()), "cat")
	check(err)
	check(read.Close()) // cat has its own copy
	ended, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	check(err)
	want(0, ended) // 0: the child is there and hasn't ended
	fmt.Println("started cat in pid", pid, "and went on: it runs")
	check(write.Close())
	fmt.Println("its input ends, and so does cat: exit status", want(0, wait(pid)))
}

func want(want, got int) int {
	if got != want {
		log.Fatalf("got %d, want %d", got, want)
	}
	return got
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
