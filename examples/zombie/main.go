//go:build unix

// Zombie makes a zombie, and buries it (C10).
//
// A child that has ended keeps its pid, its name and its exit status until the
// parent asks for them: ps shows state Z and <defunct>. A signal doesn't help,
// the process is dead already. Only a wait ends it, or the parent's own end.
//
//	$ go run ./examples/zombie
//	the child has ended, nobody has waited:
//	    PID TTY      STAT   TIME COMMAND
//	  30078 ?        Z      0:00 [zombie] <defunct>
//	after SIGKILL:
//	  30078 ?        Z      0:00 [zombie] <defunct>
//	after wait: exit status 7, and no pid 30078
package main

import (
	"errors"
	"fmt"
	"log"
	"syscall"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
	"rawfork/internal/ps"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("zombie: ")
	pid, err := rawfork.Fork()
	if err != nil {
		log.Fatal(err)
	}
	if pid == 0 {
		child.Exit(7)
	}
	if err := turn.AwaitEnd(pid); err != nil { // waits, but doesn't reap
		log.Fatal(err)
	}
	fmt.Println("the child has ended, nobody has waited:")
	fmt.Println(ps.Header)
	fmt.Println(zombie(pid))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		log.Fatalf("kill %d: %v", pid, err)
	}
	fmt.Println("after SIGKILL:")
	fmt.Println(zombie(pid))

	status, err := rawfork.Wait(pid)
	if err != nil {
		log.Fatal(err)
	}
	if line, err := ps.Line(pid); !errors.Is(err, syscall.ESRCH) {
		log.Fatalf("still there after wait: %q, %v", line, err)
	}
	fmt.Printf("after wait: exit status %d, and no pid %d\n", status.ExitStatus(), pid)
}

// zombie is the line of ps for a process that must be a zombie.
func zombie(pid int) string {
	line, err := ps.Line(pid)
	if err != nil {
		log.Fatal(err)
	}
	if state, err := ps.State(pid); state != 'Z' {
		log.Fatalf("process %d: state %c, %v, want Z", pid, state, err)
	}
	return line
}
