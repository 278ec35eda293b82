//go:build unix

// Echoserver forks a child for each connection (C15). Many clients are served at
// once, a slow one stops nobody, and no zombie is left. SIGINT or SIGTERM closes
// the listener, and the children serve their clients to the end.
//
//	$ go run ./examples/echoserver -addr 127.0.0.1:7777 &
//	listening on 127.0.0.1:7777
//	$ echo hello | nc -q1 127.0.0.1 7777
//	hello
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os/signal"
	"syscall"
	"time"

	"rawfork"
	"rawfork/child"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("echoserver: ")
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	file, err := listener.(*net.TCPListener).File() // on which one can wait
	if err != nil {
		log.Fatal(err)
	}
	listener.Close()               // file has the socket
	signal.Ignore(syscall.SIGCHLD) // the kernel reaps: no zombie, and no status
	stop, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(stop, func() { restore(); file.Close() }) // a second signal kills
	fmt.Println("listening on", listener.Addr())
	raw, _ := file.SyscallConn() // fails for a nil file only
	var conn uintptr
	var errno syscall.Errno
	// By a raw system call. One that the runtime is told of, as those of package net
	// are, wakes its monitor, and each page that a thread writes to after a fork is copied.
	accept := func(fd uintptr) (done bool) {
		conn, _, errno = syscall.RawSyscall(syscall.SYS_ACCEPT, fd, 0, 0)
		return errno != syscall.EAGAIN // else Read waits
	}
	served := 0
	for raw.Read(accept) == nil { // until the file is closed
		if errno != 0 { // no descriptor left, for one: don't spin until there is
			log.Print("accept: ", errno)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if _, err := rawfork.Serve(int(conn), serve); err != nil {
			log.Print("connection dropped: ", err)
		} else {
			served++
		}
		child.Close(int(conn)) // the child has its own copy
	}
	syscall.Wait4(-1, nil, 0, nil) // until all children have ended
	fmt.Println("stopped after", served, "connections")
}

// serve is the child. In a process group of its own it doesn't get the SIGINT of
// a terminal, which is for the server.
//
//go:nosplit
//go:norace
func serve(conn int) {
	child.Setpgid(0, 0)
	child.Echo(conn)
}
