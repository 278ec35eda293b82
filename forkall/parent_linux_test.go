//go:build linux && cgo && amd64

package forkall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rawfork/forkall"
	"rawfork/internal/watchdog"
)

// counts are how the children of a parent ended.
type counts struct {
	OK, Hung, Crashed, Wrong, Refused int
	Stuck                             int // workers of the parent that went no further
	HTTPErrors                        int // in the parent
	Retries                           int
	First                             string `json:",omitempty"` // what the first that was not ok said
}

// childLimit is how long a child may take on a machine that does much else.
const childLimit = 3 * time.Minute

// alive is how many children of a parent are alive at once.
const alive = 2

// forkParent is the helper process that forks: argument 1 is the scenario,
// argument 2 how many children. It says on its standard output how they ended.
func forkParent() {
	debug.SetGCPercent(10)
	n := must(strconv.Atoi(os.Args[2]))
	w := &world{}
	for _, s := range scenarios {
		if s.name == os.Args[1] {
			s.build(w)
		}
	}
	if err := w.progress(childLimit); err != nil {
		panic(err)
	}
	c := forkMany(w, n)
	runtime.GC()
	if err := w.progress(childLimit); err != nil {
		c.Stuck++
		fmt.Fprintln(os.Stderr, "parent:", err)
	}
	if w.quiet != nil {
		w.quiet()
	}
	c.HTTPErrors = int(httpErrors.Load())
	if err := json.NewEncoder(os.Stdout).Encode(c); err != nil {
		panic(err)
	}
}

// forkMany forks n children, with 1, 2 and 8 Ps in turn, and waits for them.
func forkMany(w *world, n int) counts {
	var c counts
	var mu sync.Mutex
	var group sync.WaitGroup
	turns := make(chan bool, alive)
	for i := range n {
		turns <- true
		runtime.GOMAXPROCS([]int{1, 2, 8}[i%3])
		process, err := forkall.Run(func() int {
			time.AfterFunc(childLimit*3/4, sayWhere)
			return examine(w)
		})
		if err != nil {
			mu.Lock()
			c.Refused++
			c.First = err.Error()
			mu.Unlock()
			<-turns
			continue
		}
		c.Retries += forkall.LastFork().Tries - 1
		group.Go(func() {
			err := ended(process, 1)
			mu.Lock()
			c.add(err)
			mu.Unlock()
			<-turns
		})
	}
	group.Wait()
	return c
}

// sayWhere ends a child that hangs, with the stacks of its goroutines, if the runtime
// is alive.
func sayWhere() {
	debug.SetTraceback("all")
	panic("the child hangs")
}

var (
	errHung    = errors.New("hung")
	errCrashed = errors.New("crashed")
)

// ended waits for a child that was forked in the given generation's parent.
func ended(process *os.Process, generation int) error {
	defer process.Release()
	status, hung, err := watchdog.Wait(context.Background(), process.Pid, childLimit)
	switch {
	case forkall.Generation() >= generation:
		select {} // the copy of this goroutine, in a child: it has no such child
	case hung != "":
		return fmt.Errorf("%w: %s", errHung, hung)
	case err != nil:
		return err
	case status.Signaled() || status.ExitStatus() != 0 && status.ExitStatus() != exitWrong:
		return fmt.Errorf("%w: wait status %#x", errCrashed, uint32(status))
	case status != 0:
		return errors.New("wrong")
	}
	return nil
}

func (c *counts) add(err error) {
	switch {
	case err == nil:
		c.OK++
		return
	case errors.Is(err, errHung):
		c.Hung++
	case errors.Is(err, errCrashed):
		c.Crashed++
	default:
		c.Wrong++
	}
	if c.First == "" {
		c.First = err.Error()
	}
}

const exitWrong = 7

// examine is what each child does: it finds out whether Go works in it.
func examine(w *world) int {
	err := errors.Join(useRuntime(), w.progress(childLimit/2))
	if err == nil && w.check != nil {
		err = w.check()
	}
	if w.quiet != nil {
		w.quiet()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "child %d: %v\n", os.Getpid(), err)
		return exitWrong
	}
	return 0
}

// useRuntime collects garbage, starts goroutines, and waits for timers. It touches few
// pages: their copies are most of what a child takes.
func useRuntime() error {
	const goroutines = 100
	if !forkall.InChild() {
		return errors.New("InChild is false in a child")
	}
	runtime.GC()
	var sum atomic.Int64
	var group sync.WaitGroup
	for i := range goroutines {
		group.Go(func() {
			block := make([]byte, 1000)
			runtime.Gosched()
			sum.Add(int64(len(block)))
			if i%50 == 0 {
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	group.Wait()
	if sum.Load() != goroutines*1000 {
		return fmt.Errorf("goroutines made a sum of %d", sum.Load())
	}
	large := make([]byte, 1<<20)
	for i := 0; i < len(large); i += os.Getpagesize() {
		large[i] = 1
	}
	runtime.KeepAlive(large)
	ticker := time.NewTicker(200 * time.Microsecond)
	defer ticker.Stop()
	for range 3 {
		<-ticker.C
	}
	runtime.GC()
	if syscall.Getpid() == syscall.Getppid() {
		return errors.New("no parent")
	}
	return nil
}
