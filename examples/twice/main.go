// Twice shows functions that return twice, because they fork (C3, C4).
//
// doTheFork is called once and returns "client" in the parent and "server" in
// the child. handle is the idiom of every forking server: the parent closes the
// connection and takes more of them, the child closes the listener and serves
// this one. A client sees the end of its connection since both did so.
//
//	$ go run ./examples/twice
//	doTheFork returned "client" in pid 30013
//	doTheFork returned "server" in pid 30019
//	client got: served by pid 30020, a child of pid 30019
//	client got: served by pid 30022, a child of pid 30019
package main

import (
	"fmt"
	"io"
	"log"
	"net"

	"rawfork"
	"rawfork/child"
)

// line is not on the stack, of which nosplit functions have little.
var line child.Line

// doTheFork returns in two processes. A function that does must not defer.
func doTheFork() (role string, pid int) {
	pid, err := rawfork.Fork()
	if err != nil {
		log.Fatal(err)
	}
	role = "client"
	if pid == 0 {
		role = "server"
	}
	line.Text(`doTheFork returned "`).Text(role).Text(`" in pid `).Int(child.Getpid()).Text("\n").Write(1)
	return role, pid
}

// handle serves conn in a child, whose pid it returns in the parent. The server is a child itself, so it forks by
// child.Fork; in a parent it would be rawfork.Fork.
//
//go:nosplit
//go:norace
func handle(listener, conn int) (pid int) {
	pid, errno := child.Fork()
	if errno != 0 {
		child.Exit(1)
	}
	if pid != 0 { // the parent: it has no use for this connection
		child.Close(conn)
		return pid
	}
	child.Close(listener) // the child: it takes no other connection
	line.Text("served by pid ").Int(child.Getpid()).Text(", a child of pid ").Int(child.Getppid()).Write(conn)
	child.Exit(0)
	return 0
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("twice: ")
	const clients = 2
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	listener := -1
	check(rawfork.WithFD(tcp, func(fd int) error { listener = fd; return nil }))

	role, server := doTheFork()
	if role == "server" {
		var pids [clients]int
		for i := range pids {
			conn, errno := child.Accept(listener, 0)
			if errno != 0 {
				child.Exit(1)
			}
			pids[i] = handle(listener, conn)
		}
		for _, pid := range pids {
			child.Wait4(pid, 0)
		}
		child.Exit(0)
	}
	check(tcp.Close()) // the server has its own copy
	for range clients {
		conn, err := net.Dial("tcp", tcp.Addr().String())
		check(err)
		answer, err := io.ReadAll(conn)
		check(err)
		fmt.Printf("client got: %s\n", answer)
		conn.Close()
	}
	status, err := rawfork.Wait(server)
	check(err)
	if status.ExitStatus() != 0 {
		log.Fatalf("server: wait status %#x", status)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
