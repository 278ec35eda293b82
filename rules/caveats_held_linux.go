//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"log"
	"runtime"
	"sync"

	"rawfork/internal/load"
)

// Caveats of what another goroutine of the parent does at the fork, which is arranged.

var channel = whileOther(Caveat{
	ID:      "channel",
	Claim:   "A goroutine that ran at the fork doesn't answer in the child of a plain fork.",
	Why:     "It runs there for ever, on a thread that isn't there.",
	Source:  "fork(2): the child has one thread",
	Instead: "child.Fork for a second process, and a pipe; a channel operation dies at once",
	busy:    "idle",
	Rare:    true, // it may be about to be scheduled just then
}, answers, ask)

// logHeld is that of a lock which the user doesn't see.
var logHeld = whileOther(Caveat{
	ID:      "log-held",
	Claim:   "Package log hangs in the child of a plain fork when another goroutine was writing to the log.",
	Why:     "The writer held the logger's lock, and isn't there to release it.",
	Source:  "log/log.go: Logger.output",
	Instead: "child.WriteString; a call of package log dies at once",
	busy:    "idle",
}, logs, logLine)

// stackGrowth has the heap's lock taken by others that grow their stacks.
var stackGrowth = whileOther(Caveat{
	ID:      "stack-growth",
	Claim:   "A call that needs a larger stack may hang in the child of a plain fork when other goroutines' stacks were growing.",
	Why:     "A larger stack is memory of the heap, whose lock another thread may have held.",
	Source:  "runtime/stack.go: stackalloc; runtime/mheap.go: allocManual",
	Instead: "rawfork.Fork: any call that checks its stack dies at once",
	busy:    "idle",
	Rare:    true,
}, growStacks, growStack)

// whileOther makes a caveat of what a child does while other goroutines of the parent do
// something, from their saying so until quit is closed.
func whileOther(c Caveat, others func(ready func(), quit <-chan struct{}), act func()) Caveat {
	during := func(try func(context.Context) (string, error)) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			// The other one runs on a thread of its own.
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.NumCPU())))
			quit, ready := make(chan struct{}), make(chan struct{})
			var group sync.WaitGroup
			group.Go(func() { others(func() { close(ready) }, quit) })
			<-ready
			defer group.Wait()
			defer close(quit)
			return try(ctx)
		}
	}
	c.bad = during(func(ctx context.Context) (string, error) { return withStderr(ctx, viaClone, act) })
	c.good = during(stoppedIn(act))
	return c
}

var (
	question  = make(chan bool)
	answering = make(chan bool)
)

// answers runs, and looks for a question each time around.
func answers(ready func(), quit <-chan struct{}) {
	ready()
	for {
		select {
		case <-question:
			answering <- true
		case <-quit:
			return
		//lint:ignore SA5004 it is to run all the time
		default:
		}
	}
}

//go:nosplit
//go:norace
func ask() {
	question <- true
	<-answering
}

// logs writes to the log, which takes until quit is closed.
func logs(ready func(), quit <-chan struct{}) {
	before := log.Writer()
	log.SetOutput(writerFunc(func(line []byte) (int, error) {
		ready()
		<-quit
		return len(line), nil
	}))
	log.Print("from the parent")
	log.SetOutput(before)
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }

//go:nosplit
//go:norace
func logLine() { log.Print("hello from the child") }

// growStacks has stacks grow over and over, on some threads.
func growStacks(ready func(), quit <-chan struct{}) {
	const threads = 8
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	var group sync.WaitGroup
	begun := sync.OnceFunc(ready)
	load.Repeat(&group, quit, threads-1, func() {
		grown := make(chan bool)
		go func() {
			growStack()
			close(grown)
		}()
		<-grown
		begun()
	})
	group.Wait()
}

// growStack needs a stack that isn't kept for another goroutine, but of the heap: 32 kB
// and more.
func growStack() { deep(300) }

// deep needs a stack of n times 64 bytes and more.
//
//go:noinline
func deep(n int) (sum int) {
	var b [64]byte
	b[n&63] = byte(n)
	if n > 0 {
		sum = deep(n - 1)
	}
	return sum + int(b[n&31])
}
