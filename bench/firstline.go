//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/forkall"
	"rawfork/internal/pages"
)

// benchFirstLine compares the start of a child by forkall, until its first line of Go,
// with that of the same program by exec, until the first line of main and until it is
// as warm as the one that started it.
func benchFirstLine(w io.Writer, rounds int) error {
	fmt.Fprintf(w, "\nstart of a program that is warm, until the first line of Go in it; ms; %d turns\n", rounds)
	fmt.Fprintln(w, "warming up is here the first touch of the memory; what a program computes comes on top")
	fmt.Fprintf(w, "%-8s  %-22s  %-22s  %-22s  %s\n", "heap", "forkall", "exec", "exec, until warm", "forkall to exec, until warm")
	for _, mb := range []int{16, 256} {
		if err := compareFirstLine(w, mb, rounds); err != nil {
			return err
		}
	}
	return nil
}

func compareFirstLine(w io.Writer, mb, rounds int) error {
	heap, err := pages.InUse(mb << 20)
	if err != nil {
		return err
	}
	defer unix.Munmap(heap)
	shared, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(shared)
	at := (*int64)(unsafe.Pointer(&shared[0]))
	var forked, first, warm []float64
	for range rounds {
		start := monotonic()
		pid, err := forkall.Fork()
		if pid == 0 && err == nil {
			atomic.StoreInt64(at, monotonic())
			unix.Exit(0)
		}
		if err != nil {
			return err
		}
		status, err := rawfork.Wait(pid)
		if err != nil {
			return err
		}
		if status != 0 {
			return fmt.Errorf("child: status %#x", int(status))
		}
		forked = append(forked, float64(atomic.LoadInt64(at)-start)/1e6)

		start = monotonic()
		out, err := exec.Command("/proc/self/exe", "-warm", strconv.Itoa(mb)).Output()
		if err != nil {
			return err
		}
		var times [2]int64
		if _, err := fmt.Sscan(string(out), &times[0], &times[1]); err != nil {
			return fmt.Errorf("a warm program said %q: %w", out, err)
		}
		first = append(first, float64(times[0]-start)/1e6)
		warm = append(warm, float64(times[1]-start)/1e6)
	}
	fmt.Fprintf(w, "%-8s  %-22s  %-22s  %-22s  %s\n", fmt.Sprintf("%d MB", mb), median(forked, "%.1f"),
		median(first, "%.1f"), median(warm, "%.1f"), median(ratios(forked, warm), "%.3f"))
	return nil
}

// playWarm is that program: it says when its main began and when it was warm.
func playWarm(mb int) error {
	first := monotonic()
	if _, err := pages.InUse(mb << 20); err != nil {
		return err
	}
	_, err := fmt.Println(first, monotonic())
	return err
}
