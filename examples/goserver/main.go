// Goserver serves each connection in a forked child that is ordinary Go, with net/http
// (C15). A helper forks the children, and has two booted ahead.
//
//	$ go run ./examples/goserver &
//	listening on 127.0.0.1:7777
//	$ curl 127.0.0.1:7777/hello
//	GET /hello: served by pid 4711, a child of pid 4700
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"rawfork/helper"
)

func main() {
	helper.Register("serve", serve)
	helper.Init() // a child serves its connection here, and exits
	h, err := helper.Start(helper.Options{Ready: 2})
	listener, listenErr := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err, listenErr); err != nil {
		log.Fatal("goserver: ", err)
	}
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	context.AfterFunc(stop, func() { listener.Close() })
	fmt.Println("listening on", listener.Addr())
	var children sync.WaitGroup
	for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
		file, _ := conn.(*net.TCPConn).File() // nil is an error of Go
		if process, err := h.Go("serve", file); err == nil {
			children.Go(func() { process.Wait() })
		} else {
			log.Print("goserver: connection dropped: ", err)
		}
		file.Close() // the child has its own copy
		conn.Close()
	}
	children.Wait()
	h.Close()
	fmt.Println("stopped")
}

// serve is the child: it serves the one connection until that is closed.
func serve(files []*os.File) int {
	conn, err := net.FileConn(files[0])
	if err != nil {
		return 1
	}
	only := make(listener, 1)
	only <- conn
	server := http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s: served by pid %d, a child of pid %d\n", r.Method, r.URL.Path, os.Getpid(), os.Getppid())
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				os.Exit(0)
			}
		},
	}
	server.Serve(only) // does not return: it waits for a second connection
	return 1
}

// listener is a [net.Listener] of the connections that are sent to it.
type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) { return <-l, nil }
func (l listener) Close() error              { return nil }
func (l listener) Addr() net.Addr            { return nil }
