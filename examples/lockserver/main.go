//go:build unix

// Lockserver counts its clients in memory that its children share (C16, C17). Each of
// four children, forked ahead, adds to one counter under a mutex. The mutex is the
// kernel's to take back: a child that is killed while it holds it stops nobody, and who
// takes it next is told, and mends what may be half done.
//
//	$ go run ./examples/lockserver -addr 127.0.0.1:7777 &
//	listening on 127.0.0.1:7777
//	$ nc 127.0.0.1 7777 </dev/null
//	you are client 1
//	$ echo die | nc -q1 127.0.0.1 7777
//	$ nc 127.0.0.1 7777 </dev/null
//	the one before you died with the mutex; you are client 3
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
	"unsafe"

	"rawfork/child"
	"rawfork/lock"
	"rawfork/serve"
)

// mutex guards counter. Both are made before the children are.
var (
	mutex   *lock.Mutex
	counter *int64
)

// count is a child's work for a client: it says how many there were. One that sends
// something has the child die with the mutex in its hand.
//
//go:nosplit
//go:norace
func count(conn int) {
	var b [1]byte
	n, _ := child.Read(conn, b[:])
	died, errno := mutex.LockInChild()
	if errno != 0 {
		child.Exit(1)
	}
	*counter++
	if n > 0 {
		child.Kill(child.Getpid(), syscall.SIGKILL)
	}
	if died {
		child.WriteString(conn, "the one before you died with the mutex; ")
	}
	child.WriteString(conn, "you are client ")
	child.WriteInt(conn, int(*counter))
	child.WriteString(conn, "\n")
	mutex.UnlockInChild()
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("lockserver: ")
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	flag.Parse()
	var err error
	if mutex, err = lock.NewMutex(8); err != nil {
		log.Fatal(err)
	}
	counter = (*int64)(unsafe.Pointer(&mutex.Data()[0]))
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	pool := &serve.Pool{Handler: count, Children: 4, Keep: []int{mutex.FD()}}
	stop, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	over := make(chan error, 1)
	context.AfterFunc(stop, func() { over <- pool.Shutdown(context.Background()) })
	fmt.Println("listening on", listener.Addr())
	if err := pool.Serve(listener); !errors.Is(err, serve.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-over; err != nil {
		log.Fatal(err)
	}
}
