//go:build unix

// Poll is the zombie solution without signals (C12): the server's own loop reaps,
// by waitpid(-1, WNOHANG), each time before it takes a connection.
//
// That is simple, and costs nothing while nobody comes. But then nobody reaps
// either: children that ended stay zombies until the next connection.
//
//	$ go run ./examples/poll
//	3 clients came and went:
//	    PID TTY      STAT   TIME COMMAND
//	  30164 ?        Z      0:00 [poll] <defunct>
//	  30165 ?        Z      0:00 [poll] <defunct>
//	  30167 ?        Z      0:00 [poll] <defunct>
//	another client comes:
//	reaped pid 30164
//	reaped pid 30165
//	reaped pid 30167
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"syscall"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
	"rawfork/internal/ps"
)

const clients = 3

// accept is one turn of the server's loop. It returns the child's pid, and how
// many others it reaped.
func accept(listener net.Listener) (pid, reaped int) {
	reaped = reap()
	conn, err := listener.Accept()
	check(err)
	pid, err = rawfork.ServeConn(conn, child.Echo)
	check(err)
	check(conn.Close())
	return pid, reaped
}

// reap takes every child that has ended, and waits for none.
func reap() (reaped int) {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid == 0 || err == syscall.ECHILD { // the others live, or there are none
			return reaped
		}
		check(err)
		fmt.Println("reaped pid", pid)
		reaped++
	}
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("poll: ")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	var conns []net.Conn
	var pids []int
	for range clients {
		conns = append(conns, dial(listener))
		pid, _ := accept(listener)
		pids = append(pids, pid)
	}
	for i, conn := range conns {
		check(conn.Close())
		check(turn.AwaitEnd(pids[i]))
	}
	fmt.Println(clients, "clients came and went:")
	fmt.Println(ps.Header)
	for _, pid := range pids {
		line, err := ps.Line(pid)
		check(err)
		fmt.Println(line)
	}
	fmt.Println("another client comes:")
	conn := dial(listener)
	pid, reaped := accept(listener)
	check(conn.Close())
	_, err = rawfork.Wait(pid)
	check(err)
	if left, err := ps.Children(os.Getpid()); reaped != clients || len(left) > 0 {
		log.Fatalf("reaped %d children of %d, left %v, %v", reaped, clients, left, err)
	}
}

func dial(listener net.Listener) net.Conn {
	conn, err := net.Dial("tcp", listener.Addr().String())
	check(err)
	return conn
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
