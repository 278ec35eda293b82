//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/bench/cloop"
	"rawfork/child"
	"rawfork/internal/pages"
)

// benchFloor measures what the kernel takes for the part that forkall can't leave out,
// in C alone: each thread must run to enter a handler, and to leave it.
func benchFloor(w io.Writer, rounds int) (points []growthPoint, err error) {
	page, err := copiedPage(rounds)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "\nthe floor of that: a C program that holds its threads, forks, and wakes them up; µs; %d turns\n", rounds)
	fmt.Fprintf(w, "a thread that is held writes to two pages that the last fork has shared; one such write: %s\n", median(page, "%.1f"))
	fmt.Fprintf(w, "%7s  %-20s %-20s %-20s %-15s %s\n", "threads", "fork in C", "call", "hold", "hold a thread", "call/allowed")
	for _, n := range []int{10, 50, 100, 200, 500} {
		turns, err := cloop.Hold(n, rounds+1)
		if err != nil {
			return nil, err
		}
		var forked, called, held, each, ratio []float64
		for _, t := range turns[1:] {
			allowed := allowedForks*micro(t.Forked) + allowedPerThread*float64(n)
			forked, called, held = append(forked, micro(t.Forked)), append(called, micro(t.Called)), append(held, micro(t.Held))
			each, ratio = append(each, micro(t.Held)/float64(n)), append(ratio, micro(t.Called)/allowed)
		}
		fmt.Fprintf(w, "%7d  %-20s %-20s %-20s %-15s %s\n", n,
			median(forked, "%.0f"), median(called, "%.0f"), median(held, "%.0f"), median(each, "%.0f"), median(ratio, "%.2f"))
		points = append(points, growthPoint{n: n, call: called})
	}
	return points, nil
}

// copiedPage measures the first write to a page that a living child shares, in
// microseconds: the mean of many in each turn.
func copiedPage(rounds int) ([]float64, error) {
	const size = 4 << 20
	var took []float64
	for range rounds {
		memory, err := pages.InUse(size)
		if err != nil {
			return nil, err
		}
		d, err := touchShared(memory)
		unix.Munmap(memory)
		if err != nil {
			return nil, err
		}
		took = append(took, micro(d)/float64(size/os.Getpagesize()))
	}
	return took, nil
}

// touchShared writes to each page of memory while a child has it too.
func touchShared(memory []byte) (time.Duration, error) {
	pid, err := rawfork.Fork()
	if pid == 0 && err == nil {
		for {
			child.Pause()
		}
	}
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 2
	}
	took := time.Since(start)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return 0, err
	}
	_, err = rawfork.Wait(pid)
	return took, err
}
