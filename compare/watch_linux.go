//go:build cgo && (amd64 || arm64)

package compare

import (
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// watched are the goroutines that notice something of a start, each in its way.
var watched = []struct {
	measure string
	begin   func() (end func() int64, err error)
}{
	{"gap-compute", func() (func() int64, error) { return watch(compute), nil }},
	{"gap-fault", watchFaults},
	{"gap-stw", func() (func() int64, error) {
		var stats runtime.MemStats
		return watch(func() { runtime.ReadMemStats(&stats) }), nil // stops the world, and does little then
	}},
}

// watch runs step again and again in a goroutine. The function that it returns ends
// that, and returns the longest time that a step took, what came before it included.
func watch(step func()) (end func() int64) {
	var quit atomic.Bool
	begun, longest := make(chan struct{}), make(chan int64)
	go func() {
		step() // the first one may be slow in a way of its own
		close(begun)
		gap, last := int64(0), now()
		for !quit.Load() {
			step()
			at := now()
			gap, last = max(gap, at-last), at
		}
		longest <- gap
	}()
	<-begun
	return func() int64 {
		quit.Store(true)
		return <-longest
	}
}

var sum atomic.Uint64

func compute() {
	var s uint64
	for i := range uint64(1000) {
		s = s*31 + i
	}
	sum.Store(s) // so that the loop isn't left out
}

// watchFaults watches a goroutine that touches new memory, in pieces of 16 pages.
func watchFaults() (end func() int64, err error) {
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 16*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	unix.Madvise(memory, unix.MADV_NOHUGEPAGE)
	stop := watch(func() {
		unix.Madvise(memory, unix.MADV_DONTNEED)
		for i := 0; i < len(memory); i += page {
			memory[i] = 1
		}
	})
	return func() int64 {
		gap := stop()
		unix.Munmap(memory)
		return gap
	}, nil
}
