//go:build unix

// Inetd starts a program for each client, with the client as its standard input and
// output (C3, C15): every filter is a server. The program knows its client by
// REMOTE_ADDR and REMOTE_PORT.
//
//	$ go run ./examples/inetd -addr 127.0.0.1:7777 tr a-z A-Z &
//	listening on 127.0.0.1:7777
//	$ echo hello | nc -q1 127.0.0.1 7777
//	HELLO
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os/signal"
	"syscall"

	"rawfork/serve"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("inetd: ")
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("no program given")
	}
	server := &serve.Server{
		Handler:     &serve.Program{Path: flag.Arg(0), Args: flag.Args()[1:]},
		MaxChildren: 100,
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if err := server.Check(listener); err != nil { // there is no such program, for one
		log.Fatal(err)
	}
	stop, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	over := make(chan error, 1)
	context.AfterFunc(stop, func() { over <- server.Shutdown(context.Background()) })
	fmt.Println("listening on", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, serve.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-over; err != nil {
		log.Fatal(err)
	}
}
