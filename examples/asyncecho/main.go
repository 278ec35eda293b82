//go:build unix

// Asyncecho is the echo server without fork (C19): a goroutine for each client, in one
// process. It serves many times more connections a second than one that forks, and its
// clients may share memory; a crash or a leak in one is everybody's. make bench
// measures both.
//
//	$ go run ./examples/asyncecho -addr 127.0.0.1:7777 &
//	listening on 127.0.0.1:7777
//	$ echo hello | nc -q1 127.0.0.1 7777
//	hello
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("asyncecho: ")
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	stop, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(stop, func() { restore(); listener.Close() }) // a second signal kills
	fmt.Println("listening on", listener.Addr())
	var clients sync.WaitGroup
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil { // no descriptor left, for one: don't spin until there is
			log.Print(err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		clients.Go(func() {
			defer conn.Close()
			io.Copy(conn, conn)
		})
	}
	clients.Wait()
}
