//go:build unix

// Forkserver is a server that forks for each client, as one would run it (C15, C18): a
// limit on children, a deadline for each client, a log, and an orderly end by SIGTERM.
// What serves a client is chosen by name.
//
//	$ go run ./examples/forkserver -addr 127.0.0.1:7777 &
//	listening on 127.0.0.1:7777
//	$ echo hello | nc -q1 127.0.0.1 7777
//	hello
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"rawfork/child"
	"rawfork/serve"
)

var handlers = serve.Table{
	"echo":    serve.Fork(child.Echo),
	"discard": serve.Fork(child.Discard),
	"wc":      &serve.Program{Path: "wc", Args: []string{"-c"}},
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("forkserver: ")
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	name := flag.String("handler", "echo", "echo, discard or wc")
	timeout := flag.Duration("timeout", time.Minute, "how long a client may take")
	flag.Parse()
	handler, err := handlers.Find(*name)
	if err != nil {
		log.Fatal(err)
	}
	server := &serve.Server{
		Handler:       handler,
		MaxChildren:   100, // further clients wait in the listener's queue
		Deadline:      *timeout,
		EndWithServer: true, // also when this process is killed
		Log:           slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	stop, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	over := make(chan error, 1)
	context.AfterFunc(stop, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		over <- server.Shutdown(ctx) // the clients finish, or are ended
	})
	fmt.Println("listening on", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, serve.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-over; err != nil {
		log.Print(err)
	}
	fmt.Println(server.Counts())
}
