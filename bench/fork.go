//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/bench/cloop"
	"rawfork/child"
	"rawfork/internal/pages"
)

// forksATurn is how many forks one side does before it is the other's turn.
const forksATurn = 8

// benchFork compares Fork+Exit+Wait with the loop in C.
func benchFork(w io.Writer, rounds int) error {
	fmt.Fprintf(w, "\nFork, Exit, Wait against fork, _exit, waitpid in one C function; %d turns of %d forks\n", rounds, forksATurn)
	fmt.Fprintf(w, "%-8s  %-28s  %-28s  %-24s  %s\n", "heap", "Go, µs", "C, µs", "ratio (target ≤ 1.05)", "page faults Go/C: parent, child")
	for _, mb := range []int{16, 256, 1024} {
		heap, err := pages.InUse(mb << 20)
		if err != nil {
			return err
		}
		err = compareForks(w, fmt.Sprintf("%d MB", mb), rounds)
		unix.Munmap(heap)
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "allocations of Fork and Wait: %v\n", testing.AllocsPerRun(100, func() { forkAndWait() }))
	return nil
}

// side is what was measured of one side.
type side struct {
	turns         []float64 // the median of each turn, µs
	parent, child int64     // page faults
}

func (s *side) turn(forks func() ([]time.Duration, error)) error {
	parent, children := faults(unix.RUSAGE_SELF), faults(unix.RUSAGE_CHILDREN)
	took, err := forks()
	if err != nil {
		return err
	}
	s.parent += faults(unix.RUSAGE_SELF) - parent
	s.child += faults(unix.RUSAGE_CHILDREN) - children
	slices.Sort(took)
	s.turns = append(s.turns, float64(took[len(took)/2].Nanoseconds())/1e3)
	return nil
}

func compareForks(w io.Writer, name string, rounds int) error {
	runtime.GC()
	var inGo, inC side
	sides := []func() error{
		func() error { return inGo.turn(func() ([]time.Duration, error) { return forkLoop(forksATurn) }) },
		func() error { return inC.turn(func() ([]time.Duration, error) { return cloop.Fork(forksATurn) }) },
	}
	for i := range rounds {
		for j := range sides { // each side is first every other time
			if err := sides[(i+j)%2](); err != nil {
				return err
			}
		}
	}
	n := int64(rounds * forksATurn)
	fmt.Fprintf(w, "%-8s  %-28s  %-28s  %-24s  %d/%d, %d/%d\n", name,
		median(inGo.turns, "%.0f"), median(inC.turns, "%.0f"), median(ratios(inGo.turns, inC.turns), "%.3f"),
		inGo.parent/n, inC.parent/n, inGo.child/n, inC.child/n)
	return nil
}

// forkLoop is the loop of package cloop, by Fork and Wait.
func forkLoop(n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		if err := forkAndWait(); err != nil {
			return nil, err
		}
		took[i] = time.Since(start)
	}
	return took, nil
}

func forkAndWait() error {
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.Exit(0)
	}
	if err != nil {
		return err
	}
	_, err = rawfork.Wait(pid)
	return err
}

func faults(who int) int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(who, &usage); err != nil {
		panic(err) // no argument of it can be wrong
	}
	return usage.Minflt
}
