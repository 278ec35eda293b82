// Package load keeps the Go runtime of this process busy in the ways that make
// fork dangerous, for tests and measurements to fork under.
package load

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"
)

// Load is one way to keep the runtime busy.
type Load struct {
	Name string
	Text string // what it does, in a few words
	// start begins the work in goroutines of group, which end soon after quit is
	// closed.
	start func(group *sync.WaitGroup, quit <-chan struct{}) error
}

// All are the loads, the idle one first.
func All() []Load {
	return []Load{
		{"idle", "nothing runs", func(*sync.WaitGroup, <-chan struct{}) error { return nil }},
		{"alloc", "goroutines that allocate", allocate},
		{"gc", "one garbage collection after another", collect},
		{"timers", "timers and network traffic", timersAndNetwork},
		{"cgo", "many blocked cgo calls, and two goroutines that allocate", blockedCalls},
		{"print", "goroutines inside println", prints},
	}
}

// Busy are the loads of All without the idle one.
func Busy() []Load { return All()[1:] }

// Start begins the load and returns what ends it: after stop, all its goroutines
// and descriptors are gone. On error nothing runs.
func (l Load) Start() (stop func(), err error) {
	var group sync.WaitGroup
	quit := make(chan struct{})
	stop = sync.OnceFunc(func() {
		close(quit)
		group.Wait()
	})
	if err := l.start(&group, quit); err != nil {
		stop()
		return nil, fmt.Errorf("load %s: %w", l.Name, err)
	}
	return stop, nil
}

// Repeat calls work over and over in n new goroutines of group, until quit is closed.
func Repeat(group *sync.WaitGroup, quit <-chan struct{}, n int, work func()) {
	for range n {
		group.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
					work()
				}
			}
		})
	}
}

// node has a pointer, so that the collector has something to mark and its write
// barrier something to record.
type node struct {
	next *node
	_    [48]byte
}

// list makes a linked list that is garbage when it returns.
func list() {
	var head *node
	for range 1000 {
		head = &node{next: head}
	}
	runtime.KeepAlive(head)
}

func allocate(group *sync.WaitGroup, quit <-chan struct{}) error {
	Repeat(group, quit, 2, list)
	return nil
}

func collect(group *sync.WaitGroup, quit <-chan struct{}) error {
	Repeat(group, quit, 1, list)
	Repeat(group, quit, 1, runtime.GC)
	return nil
}

func timersAndNetwork(group *sync.WaitGroup, quit <-chan struct{}) error {
	Repeat(group, quit, 8, func() { time.Sleep(50 * time.Microsecond) })
	for range 2 {
		near, far, err := loopback()
		if err != nil {
			return err
		}
		group.Go(func() {
			// Not io.Copy, which keeps the pipes of splice(2) open for later.
			var b [64]byte
			for n, err := far.Read(b[:]); err == nil; n, err = far.Read(b[:]) {
				far.Write(b[:n])
			}
			far.Close()
		})
		group.Go(func() {
			<-quit
			near.Close()
		})
		Repeat(group, quit, 1, func() {
			var b [64]byte
			near.Write(b[:])
			near.Read(b[:])
		})
	}
	return nil
}

// loopback makes a TCP connection of this process to itself.
func loopback() (near, far net.Conn, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	near, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	far, err = listener.Accept()
	if err != nil {
		near.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// blocked is how many calls blockedCalls keeps blocked.
const blocked = 32

// prints takes the runtime's print lock, and holds it, without printing: the
// compiler would merge constants, and an empty string is not written.
func prints(group *sync.WaitGroup, quit <-chan struct{}) error {
	Repeat(group, quit, 2, func() {
		for range 1000 {
			print(empty, empty, empty, empty, empty, empty, empty, empty,
				empty, empty, empty, empty, empty, empty, empty, empty)
		}
		list()
	})
	return nil
}

var empty string
