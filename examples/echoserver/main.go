//go:build linux

// Echoserver forks a child for each connection (C15). Many clients are served at
// once, a slow one stops nobody, and no zombie is left.
//
// SIGINT or SIGTERM closes the listener and waits for the children to serve
// their clients to the end; a second one ends the children too.
//
//	$ go run ./examples/echoserver -addr 127.0.0.1:7777 &
//	listening on 127.0.0.1:7777
//	$ echo hello | nc -q1 127.0.0.1 7777
//	hello
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
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
	stop, sigchld := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(sigchld, syscall.SIGCHLD)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())

	conns := make(chan net.Conn)
	go accept(listener, conns)
	children := map[int]bool{}
	served, stopping := 0, false
	for conns != nil || len(children) > 0 {
		select {
		case conn, ok := <-conns:
			if !ok {
				conns = nil
				break
			}
			pid, err := rawfork.ServeConn(conn, serve)
			conn.Close() // the child has its own copy
			if err != nil {
				log.Print("connection dropped: ", err)
				break
			}
			children[pid] = true
			served++
		case <-sigchld:
			reap(children)
		case <-stop:
			if stopping {
				for pid := range children {
					syscall.Kill(pid, syscall.SIGTERM)
				}
			}
			stopping = true
			listener.Close()
		}
	}
	fmt.Println("stopped after", served, "connections")
}

// accept sends the listener's connections until it is closed.
func accept(listener net.Listener, conns chan<- net.Conn) {
	defer close(conns)
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors left, for one: don't spin until there are
			log.Print(err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		conns <- conn
	}
}

// serve is the child. In a process group of its own it doesn't get the SIGINT of
// a terminal, which is for the server to decide on.
//
//go:nosplit
//go:norace
func serve(conn int) {
	child.Setpgid(0, 0)
	child.Echo(conn)
}

// reap takes the children that have ended. One SIGCHLD may stand for many.
func reap(children map[int]bool) {
	for pid := range children {
		if ended, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); ended == pid || err == syscall.ECHILD {
			delete(children, pid)
		}
	}
}
