//go:build linux

// Errors is a server that meets the two ways in which fork fails (C18): EAGAIN at
// the limit on processes, ENOMEM when the kernel can't promise memory for a copy.
// It logs the error, drops the one connection or keeps it for later, and goes on.
// Nothing is left of a failed fork: no child, no descriptor.
//
// internal/limit makes the two limits: RLIMIT_NPROC, from which root is exempt and
// so becomes nobody first, and a claim of more memory than the machine has.
//
//	$ go run ./examples/errors
//	connection 1: served
//	connection 2: serve fd 9: fork: resource temporarily unavailable: dropped
//	connection 3: serve fd 9: fork: cannot allocate memory: delayed
//	connection 3: served
//	connection 4: served
//	left: 0 children, 0 descriptors
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"syscall"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/limit"
	"rawfork/internal/leftover"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("errors: ")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	before := leftover.Descriptors()

	client, conn := connect(listener)
	serve(1, client, conn)

	client, conn = connect(listener)
	check(limit.Processes(func() { refused(2, conn, syscall.EAGAIN) }))
	fmt.Println("dropped")
	check(conn.Close())
	if n, err := client.Read(make([]byte, 1)); err != io.EOF {
		log.Fatalf("dropped client read %d bytes, %v", n, err)
	}
	check(client.Close())

	client, conn = connect(listener)
	err = limit.Memory(func() { refused(3, conn, syscall.ENOMEM) })
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("connection 3:", err)
	} else {
		check(err)
		fmt.Println("delayed")
	}
	serve(3, client, conn)

	client, conn = connect(listener)
	serve(4, client, conn)
	children, descriptors := leftover.Children(), leftover.Descriptors()
	maps.DeleteFunc(descriptors, func(fd, what string) bool { return before[fd] == what })
	fmt.Printf("left: %d children, %d descriptors\n", len(children), len(descriptors))
	if len(children) != 0 || len(descriptors) != 0 {
		log.Fatal("a failed fork left something")
	}
}

// refused tries to serve a connection, which must fail with want.
func refused(number int, conn net.Conn, want syscall.Errno) {
	pid, err := rawfork.ServeConn(conn, child.Echo)
	if !errors.Is(err, want) {
		log.Fatalf("connection %d: pid %d, %v, want %v", number, pid, err, want)
	}
	fmt.Printf("connection %d: %v: ", number, err)
}

// serve serves the connection in a child, to the end.
func serve(number int, client, conn net.Conn) {
	pid, err := rawfork.ServeConn(conn, child.Echo)
	check(err)
	check(conn.Close())
	fmt.Fprintln(client, "hello")
	_, err = fmt.Fscanln(client, new(string))
	check(err)
	check(client.Close())
	_, err = rawfork.Wait(pid)
	check(err)
	fmt.Printf("connection %d: served\n", number)
}

func connect(listener net.Listener) (client, conn net.Conn) {
	client, err := net.Dial("tcp", listener.Addr().String())
	check(err)
	conn, err = listener.Accept()
	check(err)
	return client, conn
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
