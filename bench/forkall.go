//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/bench/cloop"
	"rawfork/forkall"
	"rawfork/internal/pages"
)

// shape is a process that forks: its resident memory, blocked threads, and open
// descriptors that the poller watches.
type shape struct{ mb, threads, descriptors int }

// The first is every other's measure.
var shapes = []shape{
	{16, 10, 0}, {256, 10, 0}, {1024, 10, 0},
	{16, 50, 0}, {16, 100, 0}, {16, 200, 0}, {16, 500, 0},
	{16, 10, 500}, {16, 10, 1000}, {16, 10, 2000}, {16, 10, 4000},
}

// What a call may take: so much of a fork in C, and so many microseconds more.
const (
	allowedForks         = 1.5
	allowedPerThread     = 20.0
	allowedPerDescriptor = 1.0
)

// forkallFigures are what one shape took: a value for each turn, in microseconds.
type forkallFigures struct {
	inC, call, stopped, hold, read, first []float64
	threads, descriptors, retries         int
}

// benchForkall compares forkall.Fork with fork(2) in C, of the same process, and the
// start of a child with that of the same program by exec. Charts are written into the
// directory, if it has a name.
func benchForkall(w io.Writer, rounds int, directory string) error {
	process, err := forkall.Run(func() int { return 0 })
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Fprintln(w, "\nforkall: not supported here")
		return nil
	}
	if err == nil {
		_, err = process.Wait()
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nforkall.Fork against fork(2) in C, of the same process; µs; %d turns\n", rounds)
	fmt.Fprintf(w, "allowed: %.1f times the fork in C, %.0f µs a thread, %.0f µs a descriptor\n",
		allowedForks, allowedPerThread, allowedPerDescriptor)
	fmt.Fprintf(w, "%-8s %7s %6s  %-20s %-20s %-20s %-8s %-8s %-20s %s\n", "heap", "threads", "fds",
		"fork in C", "call", "stopped", "hold", "read", "child's first line", "call/allowed")
	threads, descriptors := growth{of: "threads"}, growth{of: "descriptors"}
	for _, s := range shapes {
		f, err := measureForkall(s, rounds)
		if err != nil {
			return err
		}
		allowed := make([]float64, len(f.inC))
		for i := range allowed {
			allowed[i] = allowedForks*f.inC[i] + allowedPerThread*float64(f.threads) + allowedPerDescriptor*float64(f.descriptors)
		}
		fmt.Fprintf(w, "%-8s %7d %6d  %-20s %-20s %-20s %-8.0f %-8.0f %-20s %s\n", fmt.Sprintf("%d MB", s.mb), f.threads, f.descriptors,
			median(f.inC, "%.0f"), median(f.call, "%.0f"), median(f.stopped, "%.0f"), middle(f.hold), middle(f.read),
			median(f.first, "%.0f"), median(ratios(f.call, allowed), "%.2f"))
		p := growthPoint{inC: f.inC, call: f.call, first: f.first, allowed: allowed}
		if s.mb == 16 && s.descriptors == 0 {
			p.n = f.threads
			threads.points = append(threads.points, p)
		}
		if s.mb == 16 && s.threads == 10 {
			p.n = f.descriptors
			descriptors.points = append(descriptors.points, p)
		}
	}
	if threads.floor, err = benchFloor(w, rounds); err != nil {
		return err
	}
	if directory != "" {
		if err := errors.Join(threads.write(directory), descriptors.write(directory)); err != nil {
			return err
		}
	}
	return benchFirstLine(w, max(rounds/4, 6)) // of fewer turns there is no confidence interval
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// measureForkall makes this process of that shape, and forks.
func measureForkall(s shape, rounds int) (f forkallFigures, err error) {
	heap, err := pages.InUse(s.mb << 20)
	if err != nil {
		return f, err
	}
	defer unix.Munmap(heap)
	endThreads, err := blockThreads(s.threads)
	if err != nil {
		return f, err
	}
	defer endThreads()
	closePipes, err := openPipes(s.descriptors / 2)
	if err != nil {
		return f, err
	}
	defer closePipes()
	at, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return f, os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(at)
	firstLine := (*int64)(unsafe.Pointer(&at[0]))
	runtime.GC()
	for i := range rounds + 1 {
		took, err := cloop.Call(1)
		if err != nil {
			return f, err
		}
		start := monotonic()
		pid, err := forkall.Fork()
		if pid == 0 && err == nil {
			atomic.StoreInt64(firstLine, monotonic())
			unix.Exit(0)
		}
		called := monotonic()
		if err != nil {
			return f, err
		}
		status, err := rawfork.Wait(pid)
		if err != nil {
			return f, err
		}
		if status != 0 {
			return f, fmt.Errorf("child: status %#x", int(status))
		}
		if i == 0 {
			continue // the first one looks things up
		}
		stats := forkall.LastFork()
		f.threads, f.descriptors = stats.Threads, stats.Descriptors
		f.retries += stats.Tries - 1
		f.inC = append(f.inC, micro(took[0]))
		f.call = append(f.call, micro(time.Duration(called-start)))
		f.stopped = append(f.stopped, micro(stats.Stopped))
		f.hold = append(f.hold, micro(stats.Hold))
		f.read = append(f.read, micro(stats.Read))
		f.first = append(f.first, micro(time.Duration(atomic.LoadInt64(firstLine)-start)))
	}
	return f, nil
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // no argument of it can be wrong
	}
	return t.Nano()
}

// blockThreads has n threads sit in read(2), until the returned function is called.
func blockThreads(n int) (end func(), err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	var started, group sync.WaitGroup
	started.Add(n)
	for range n {
		group.Go(func() {
			runtime.LockOSThread() // and the thread ends with the goroutine
			started.Done()
			for {
				if _, err := syscall.Read(pipe[0], make([]byte, 1)); err != syscall.EINTR {
					return
				}
			}
		})
	}
	started.Wait()
	return func() {
		unix.Close(pipe[1])
		group.Wait()
		unix.Close(pipe[0])
	}, nil
}

// openPipes opens n pipes that the poller watches.
func openPipes(n int) (closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			f.Close()
		}
	}
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll()
			return nil, err
		}
		files = append(files, r, w)
	}
	return closeAll, nil
}
