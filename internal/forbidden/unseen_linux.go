package forbidden

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rawfork/child"
)

// Blind are the actions that run in a child without the guard seeing them.
func Blind() []Unseen {
	return append([]Unseen{
		{"guard-syscall", "syscall.Syscall", systemCall,
			"it is nosplit, and on its way through the scheduler it puts the normal stack guard back",
			false, "child.Syscall or another function of package child", rawSystemCall},
		{"guard-gosched", "runtime.Gosched", gosched,
			"it is nosplit, and calls the scheduler on the system stack, which is not guarded",
			false, "child.Sleep; no other goroutine is there to yield to", sleepRaw},
		{"guard-barrier", "storing pointers while the parent's collector marks", storePointers,
			"the write barrier is inlined, and flushes its buffer on the system stack",
			false, "storing to memory without pointers", storeNumbers},
		{"guard-mutex", "locking a free sync.Mutex", lockFree,
			"the uncontended path is inlined; a mutex that is held is seen",
			true, "no lock: the child has one thread", nothing},
		{"guard-inline", "a call that the compiler inlines", callInlined,
			"no call is left to check the stack",
			true, "", callInlined},
		{"guard-leaf", "a small function that calls nothing", callLeaf,
			"one whose frame fits below the guard doesn't check the stack",
			true, "a function marked nosplit, which the linker checks", callNosplit},
		{"guard-defer", "a defer at the top level of a function", deferOpen,
			"it is open-coded: compiled into the function's end",
			true, "the call itself at the end", nothing},
		{"guard-atomic", "sync/atomic", addAtomic,
			"it is compiled to an instruction",
			true, "", addAtomic},
		{"guard-copy", "copy, append within the capacity, comparing strings", copyBytes,
			"they are inlined, or assembly that doesn't check the stack",
			true, "", copyBytes},
		{"guard-thread", "runtime.LockOSThread", lockThread,
			"it is nosplit",
			true, "nothing: the child has one thread", nothing},
	}, unseenHere...)
}

// node has a pointer, whose store needs the write barrier.
//
//lint:ignore U1000 it is written to, for the effect
type node struct{ next *node }

var (
	nodes [2]node
	//lint:ignore U1000 it is written to, for the effect
	head    *node
	numbers [2]int
	free    sync.Mutex
	counter atomic.Int64
	room    = make([]byte, 8, 64)
)

//go:nosplit
//go:norace
func systemCall() { syscall.Syscall(syscall.SYS_GETPID, 0, 0, 0) }

//go:nosplit
//go:norace
func rawSystemCall() { child.Syscall(syscall.SYS_GETPID, 0, 0, 0, 0, 0, 0) }

//go:nosplit
//go:norace
func gosched() { runtime.Gosched() }

//go:nosplit
//go:norace
func sleepRaw() { child.Sleep(time.Microsecond) }

//go:nosplit
//go:norace
func storePointers() {
	for i := 0; i < 4096; i++ { // more than the barrier's buffer holds
		head = &nodes[i&1]
	}
}

//go:nosplit
//go:norace
func storeNumbers() {
	for i := 0; i < 4096; i++ {
		numbers[i&1] = i
	}
}

//go:nosplit
//go:norace
func lockFree() {
	free.Lock()
	//lint:ignore SA2001 locking is all that is shown
	free.Unlock()
}

//go:nosplit
//go:norace
func nothing() {}

func double(n int) int { return 2 * n }

//go:nosplit
//go:norace
func callInlined() { number = double(number) }

//go:noinline
//go:norace
func leaf(n int) int { return 2 * n }

//go:nosplit
//go:norace
func callLeaf() { number = leaf(number) }

//go:noinline
//go:nosplit
//go:norace
func leafNosplit(n int) int { return 2 * n }

//go:nosplit
//go:norace
func callNosplit() { number = leafNosplit(number) }

//go:nosplit
//go:norace
func deferOpen() {
	defer func() { number++ }()
	number++
}

//go:nosplit
//go:norace
func addAtomic() { counter.Add(1) }

//go:nosplit
//go:norace
func copyBytes() {
	copy(room, text)
	room = append(room, 'x')
	if text == "other" {
		number++
	}
}

//go:nosplit
//go:norace
func lockThread() { runtime.LockOSThread() }
