// Prefork has children that wait for connections on one listener (C16), each a whole
// Go program. A helper keeps one more booted: it takes the place of one that dies.
//
//	$ go run ./examples/prefork &
//	listening on 127.0.0.1:7777
//	$ curl 127.0.0.1:7777/crash; curl 127.0.0.1:7777/hello
//	child 4711: exit status 3
//	/hello: served by pid 4715
package main

import (
	"context"
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

const children = 3

func main() {
	helper.Register("serve", serve)
	helper.Init() // a child serves here, and exits
	h, err := helper.Start(helper.Options{Ready: 1, EndWithParent: true})
	if err != nil {
		log.Fatal("prefork: ", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal("prefork: ", err)
	}
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	fmt.Println("listening on", listener.Addr())
	file, _ := listener.(*net.TCPListener).File() // nil is an error of Go
	var group sync.WaitGroup
	for range children {
		group.Go(func() {
			for stop.Err() == nil {
				process, err := h.Go("serve", file)
				if err != nil {
					log.Fatal("prefork: ", err)
				}
				end := context.AfterFunc(stop, func() { process.Signal(syscall.SIGTERM) })
				state, _ := process.Wait()
				end()
				fmt.Printf("child %d: %v\n", process.Pid, state)
			}
		})
	}
	group.Wait()
	h.Close()
	fmt.Println("stopped")
}

// serve is the child: it accepts and serves until it is ended.
func serve(files []*os.File) int {
	listener, err := net.FileListener(files[0])
	if err != nil {
		return 1
	}
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s: served by pid %d\n", r.URL.Path, os.Getpid())
	})
	http.Serve(listener, nil)
	return 1
}
