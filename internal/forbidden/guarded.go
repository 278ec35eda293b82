package forbidden

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"rawfork"
)

// Guarded are the actions that the stack guard of a child must stop.
func Guarded() []Action { return append(slices.Clip(guarded), guardedHere...) }

var guarded = []Action{
	{"print by fmt", "forbidden.printFmt", printFmt, true},
	{"allocate by new", "runtime.newobject", allocateNew, true},
	{"write to a map", "runtime.mapassign", writeMap, true},
	{"send to a channel", "runtime.chansend", send, true},
	{"defer in a loop", "runtime.deferproc", deferLoop, true},
	{"start a goroutine", "runtime.newproc", startGoroutine, true},
	{"panic", "panic(", panicNow, true},

	{"print by println", "runtime.printlock", printBuiltin, false},
	{"log", "forbidden.printLog", printLog, false},
	{"allocate by make", "runtime.makeslice", allocateMake, false},
	{"append beyond the capacity", "runtime.growslice", appendBeyond, false},
	{"concatenate strings", "runtime.concatstring", concatenate, false},
	{"convert a string to bytes", "runtime.stringtoslicebyte", convert, false},
	{"box an integer", "runtime.convT", box, false},
	{"make a map", "runtime.makemap", makeMap, false},
	{"read a map", "runtime.mapaccess", readMap, false},
	{"range over a map", "forbidden.rangeMap", rangeMap, false},
	{"make a channel", "runtime.makechan", makeChannel, false},
	{"receive from a channel", "runtime.chanrecv", receive, false},
	{"close a channel", "runtime.closechan", closeChannel, false},
	{"select", "runtime.selectgo", selectTwo, false},
	{"defer a call with arguments", "forbidden.deferCall", deferCall, false},
	{"index out of range", "forbidden.outOfRange", outOfRange, false},
	{"divide by zero", "runtime.panicdivide", divide, false},
	{"assert a type", "runtime.typeAssert", assertType, false},
	{"sleep by package time", "time.Sleep", sleep, false},
	{"ask the time", "time.Now", now, false},
	{"draw a random number", "rand", draw, false},
	{"lock a contended mutex", "sync.(*Mutex).", lockContended, false},
	{"do by sync.Once", "sync.(*Once).", once, false},
	{"wait for a group", "sync.(*WaitGroup)", wait, false},
	{"collect garbage", "runtime.GC", collect, false},
	{"end the goroutine", "runtime.Goexit", goexit, false},
	{"fork again by Fork", "rawfork.Fork", forkAgain, false},
	{"write by os.File", "os.(*File).Write", writeFile, false},
	{"run a program by os/exec", "os/exec.Command", runProgram, false},
	{"exec by syscall.Exec", "syscall.Exec", execSyscall, false},
	{"dial by package net", "net.Dial", dial, false},
	{"make a context", "context.WithCancel", makeContext, false},
	{"make an error", "forbidden.makeError", makeError, false},
	{"read the environment", "os.Getenv", getenv, false},
	{"recurse", "forbidden.recurse", callRecurse, false},
}

// What the actions need is made before the fork.
var (
	sink     any
	bytes    []byte
	text     = "text"
	number   = 1 << 20
	full     = make([]int, 4)
	index    = 4
	table    = map[string]int{}
	channel  = make(chan int)
	one, two = make(chan int), make(chan int)
	held     sync.Mutex
	first    sync.Once
	null     *os.File
	argv     = []string{"true"}
	group    sync.WaitGroup
	errNow   = errors.New("now")
	zero     int
	//lint:ignore U1000 it is written to, for the effect
	cancel context.CancelFunc
)

func init() {
	held.Lock()
	group.Add(1)
	sink = errNow
	null, _ = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
}

//go:nosplit
//go:norace
func printFmt() { fmt.Println(text) }

//go:nosplit
//go:norace
func printBuiltin() { println(text) }

//go:nosplit
//go:norace
func printLog() { log.Print(text) }

//go:nosplit
//go:norace
func allocateNew() { sink = new([64]byte) }

//go:nosplit
//go:norace
func allocateMake() { bytes = make([]byte, number) }

//go:nosplit
//go:norace
func appendBeyond() { full = append(full, 1) }

//go:nosplit
//go:norace
func concatenate() { text = text + text }

//go:nosplit
//go:norace
func convert() { bytes = []byte(text) }

//go:nosplit
//go:norace
func box() { sink = number }

//go:nosplit
//go:norace
func makeMap() { sink = make(map[int]int, number) }

//go:nosplit
//go:norace
func writeMap() { table[text] = 1 }

//go:nosplit
//go:norace
func makeChannel() { sink = make(chan int, 1) }

//go:nosplit
//go:norace
func send() { channel <- 1 }

//go:nosplit
//go:norace
func receive() { <-channel }

//go:nosplit
//go:norace
func closeChannel() { close(channel) }

//go:nosplit
//go:norace
func selectTwo() {
	select {
	case one <- 1:
	case <-two:
	}
}

//go:nosplit
//go:norace
func deferLoop() {
	for i := 0; i < index; i++ {
		defer nop()
	}
}

//go:nosplit
//go:norace
func startGoroutine() { go recurse(1) }

//go:nosplit
//go:norace
func panicNow() { panic(errNow) }

//go:nosplit
//go:norace
func outOfRange() { full[index] = 1 }

//go:nosplit
//go:norace
func sleep() { time.Sleep(time.Millisecond) }

//go:nosplit
//go:norace
func lockContended() { held.Lock() }

//go:nosplit
//go:norace
func once() { first.Do(nop) }

//go:nosplit
//go:norace
func forkAgain() { rawfork.Fork() }

//go:nosplit
//go:norace
func writeFile() { null.Write(bytes) }

//go:nosplit
//go:norace
func runProgram() { exec.Command(text) }

//go:nosplit
//go:norace
func execSyscall() { syscall.Exec(text, argv, argv) }

//go:nosplit
//go:norace
func dial() { net.Dial(text, text) }

//go:nosplit
//go:norace
func makeContext() { _, cancel = context.WithCancel(context.Background()) }

//go:nosplit
//go:norace
func makeError() { sink = errors.New(text) }

//go:nosplit
//go:norace
func getenv() { os.Getenv(text) }

//go:nosplit
//go:norace
//lint:ignore SA4017 it is called for the stack that it needs
func callRecurse() { recurse(number) }

//go:nosplit
//go:norace
func readMap() { number = table[text] }

//go:nosplit
//go:norace
func rangeMap() {
	for _, v := range table {
		number = v
	}
}

//go:nosplit
//go:norace
func deferCall() { defer recurse(number) }

//go:nosplit
//go:norace
func recoverNow() { recover() }

//go:nosplit
//go:norace
func divide() { number /= zero }

//go:nosplit
//go:norace
func assertType() { sink = sink.(error) }

//go:nosplit
//go:norace
func now() { sink = time.Now() }

//go:nosplit
//go:norace
func draw() { number = int(rand.Uint64()) }

//go:nosplit
//go:norace
func wait() { group.Wait() }

//go:nosplit
//go:norace
func collect() { runtime.GC() }

//go:nosplit
//go:norace
func goexit() { runtime.Goexit() }

//go:noinline
func recurse(n int) int {
	if n <= 0 {
		return 0
	}
	return recurse(n-1) + 1
}

func nop() {}
