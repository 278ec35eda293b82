//go:build unix

// Status shows what wait tells the parent about a child's end (C9): the exit
// code, or the signal that killed it.
//
// An exit code has 8 bits, so 256 is 0 and -1 is 255. A child is waited for once:
// after that its status is gone and its pid is free.
//
//	$ go run ./examples/status
//	Exit(0)        exit status 0
//	Exit(7)        exit status 7
//	Exit(256)      exit status 0
//	Exit(-1)       exit status 255
//	Kill(SIGTERM)  killed by SIGTERM
//	Kill(SIGKILL)  killed by SIGKILL
//	waited twice   wait4: no child processes
package main

import (
	"errors"
	"fmt"
	"log"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("status: ")
	for _, code := range []int{0, 7, 256, -1} {
		status, _ := end(code, 0)
		show(fmt.Sprintf("Exit(%d)", code), status)
		if !status.Exited() || status.ExitStatus() != code&0xff {
			log.Fatalf("Exit(%d): wait status %#x", code, status)
		}
	}
	var pid int
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		var status syscall.WaitStatus
		status, pid = end(0, signal)
		show(fmt.Sprintf("Kill(%s)", unix.SignalName(signal)), status)
		if !status.Signaled() || status.Signal() != signal {
			log.Fatalf("Kill(%v): wait status %#x", signal, status)
		}
	}
	_, err := rawfork.Wait(pid)
	if !errors.Is(err, syscall.ECHILD) {
		log.Fatalf("second wait for one child: %v, not ECHILD", err)
	}
	fmt.Printf("%-14s wait4: %v\n", "waited twice", syscall.ECHILD)
}

// end forks a child that kills itself by signal, or without one exits with code,
// and returns what wait said.
func end(code int, signal syscall.Signal) (syscall.WaitStatus, int) {
	pid, err := rawfork.Fork()
	if err != nil {
		log.Fatal(err)
	}
	if pid == 0 {
		if signal != 0 {
			child.Kill(child.Getpid(), signal)
		}
		child.Exit(code)
	}
	status, err := rawfork.Wait(pid)
	if err != nil {
		log.Fatal(err)
	}
	return status, pid
}

func show(how string, status syscall.WaitStatus) {
	if status.Signaled() {
		fmt.Printf("%-14s killed by %s\n", how, unix.SignalName(status.Signal()))
	} else {
		fmt.Printf("%-14s exit status %d\n", how, status.ExitStatus())
	}
}
