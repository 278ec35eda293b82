//go:build unix

// Echoserver forks a child for each connection (C15). Many clients are served at
// once, a slow one stops nobody, and no zombie is left. SIGINT or SIGTERM ends
// the listening, and the children serve their clients to the end.
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

	"golang.org/x/sys/unix"

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
	raw, _ := file.SyscallConn()   // fails for a nil file only
	signal.Ignore(syscall.SIGCHLD) // the kernel reaps: no zombie, and no status
	stop, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(stop, func() {
		restore() // a second signal kills
		raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RD) })
	})
	fmt.Println("listening on", listener.Addr())
	served := 0
	rawfork.WithFD(file, func(fd int) error {
		served = serveAll(fd, raw)
		return nil
	})
	syscall.Wait4(-1, nil, 0, nil) // until all children have ended
	fmt.Println("stopped after", served, "connections")
}

// serveAll forks a child for each connection, until the listener is shut down.
func serveAll(listener int, raw syscall.RawConn) (served int) {
	for {
		conn, errno := accept(listener, raw)
		if errno == syscall.EINVAL {
			return served // shut down
		} else if errno != 0 { // no descriptor left, for one: don't spin until there is
			log.Print("accept: ", errno)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if _, err := rawfork.Serve(conn, serve); err != nil {
			log.Print("connection dropped: ", err)
		} else {
			served++
		}
		child.Close(conn) // the child has its own copy
	}
}

// accept waits for a connection. Each page that a thread writes to after a fork is
// copied, and the scheduler writes to eight before it sleeps. So accept waits by raw
// system calls first, which the runtime isn't told of and which keep a collection
// waiting, but no longer than a fork does.
func accept(listener int, raw syscall.RawConn) (conn int, errno syscall.Errno) {
	for {
		conn, _, errno := syscall.RawSyscall(syscall.SYS_ACCEPT, uintptr(listener), 0, 0)
		if errno != syscall.EAGAIN {
			return int(conn), errno
		}
		if !ready(listener, time.Millisecond) {
			raw.Read(func(fd uintptr) bool { return ready(int(fd), 0) })
		}
	}
}

func ready(fd int, patience time.Duration) bool {
	wait := [1]child.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := child.Poll(wait[:], patience)
	return n != 0
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
