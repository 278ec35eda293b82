// Functions that are marked as a child's should be, and aren't fit for one; and
// some that are. The test of the purity test builds them.
package main

import (
	"runtime"
	"sync"
	"syscall"
)

var (
	object  *[100]int
	slice   []int
	text    string
	table   = map[int]int{}
	channel = make(chan int, 1)
	mutex   sync.Mutex
	value   func(int) int
	any     interface{ Lock() } = &mutex
	source  [1000]byte
	dest    [1000]byte
	number  int
)

//go:nosplit
//go:norace
//go:noinline
func allocates() { object = new([100]int) }

//go:nosplit
//go:norace
//go:noinline
func makesSlice(n int) { slice = make([]int, n) }

//go:nosplit
//go:norace
//go:noinline
func concatenates(s string) { text += s }

//go:nosplit
//go:norace
//go:noinline
func writesMap(n int) { table[n] = n }

//go:nosplit
//go:norace
//go:noinline
func sends(n int) { channel <- n }

//go:nosplit
//go:norace
//go:noinline
func spawns() { go prints(1) }

//go:nosplit
//go:norace
//go:noinline
func defers(n int) {
	for range n { // not open-coded
		defer prints(n)
	}
}

//go:nosplit
//go:norace
//go:noinline
func indexes(b []byte, i int) byte { return b[i] }

//go:nosplit
//go:norace
//go:noinline
func panics() { panic("no") }

//go:nosplit
//go:norace
//go:noinline
func prints(n int) { println(n) }

//go:nosplit
//go:norace
//go:noinline
func locks() { mutex.Lock() }

//go:nosplit
//go:norace
//go:noinline
func yields() { runtime.Gosched() }

//go:nosplit
//go:norace
//go:noinline
func entersSyscall() { syscall.Syscall(syscall.SYS_GETPID, 0, 0, 0) }

//go:nosplit
//go:norace
//go:noinline
func storesPointer(p *[100]int) { object = p }

//go:nosplit
//go:norace
//go:noinline
func callsValue(n int) int { return value(n) }

//go:nosplit
//go:norace
//go:noinline
func callsInterface() { any.Lock() }

//go:nosplit
//go:norace
//go:noinline
func deepens(n int) int { return splits(n) }

//go:norace
//go:noinline
func splits(n int) int {
	var a [500]byte
	a[n%500] = byte(n)
	return int(a[n/2%500])
}

// norace is missing.
//
//go:nosplit
//go:noinline
func instrumented(n int) { number += n }

//go:nosplit
//go:norace
//go:noinline
func adds(n int) { number += n }

//go:nosplit
//go:norace
//go:noinline
func copies() { dest = source }

//go:nosplit
//go:norace
//go:noinline
func asks() { syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0) }

//go:noinline
func use(...interface{}) {}

func main() {
	use(allocates, makesSlice, concatenates, writesMap, sends, spawns, defers, indexes,
		panics, prints, locks, yields, entersSyscall, storesPointer, callsValue,
		callsInterface, deepens, instrumented, adds, copies, asks)
}
