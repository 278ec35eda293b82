//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/bench/cloop"
	"rawfork/internal/pages"
	"rawfork/internal/program"
)

const (
	startsATurn   = 8
	descriptors   = 10000
	parallel      = 1000 // starts of one turn
	parallelBy    = 16   // goroutines
	parallelTurns = 4    // for one of them there are so many of the sequential ones
)

// A starter is a way to start a program and to wait for it.
type starter struct {
	name string
	run  func(n int) ([]time.Duration, error) // n times, one after the other
}

// starters are the methods that need no helper and, as what they can't be faster than, the same in C.
func starters(path string) []starter {
	list := []starter{
		{"C fork", func(n int) ([]time.Duration, error) { return cloop.Exec(path, cloop.ByFork, n) }},
		{"C vfork", func(n int) ([]time.Duration, error) { return cloop.Exec(path, cloop.ByVfork, n) }},
		{"C spawn", func(n int) ([]time.Duration, error) { return cloop.Exec(path, cloop.BySpawn, n) }},
	}
	for _, m := range []rawfork.Method{rawfork.ByFork, rawfork.ByVfork, rawfork.BySpawn, rawfork.BySyscall} {
		list = append(list, starter{m.String(), func(n int) ([]time.Duration, error) { return startLoop(m, path, n) }})
	}
	return list
}

func startLoop(m rawfork.Method, path string, n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		if err := startAndWait(m, path); err != nil {
			return nil, err
		}
		took[i] = time.Since(start)
	}
	return took, nil
}

func startAndWait(m rawfork.Method, path string) error {
	pid, err := m.ForkExec(path, []string{"program"}, &syscall.ProcAttr{Env: []string{}})
	if err != nil {
		return err
	}
	status, err := rawfork.Wait(pid)
	if err == nil && (!status.Exited() || status.ExitStatus() != 0) {
		err = fmt.Errorf("%v of %s: wait status %#x", m, path, uint32(status))
	}
	return err
}

// benchStart compares the methods of starting a program, one after the other at
// several heaps, and many at once.
func benchStart(w io.Writer, rounds int) error {
	path, err := program.Write(program.Exit())
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(path))
	fmt.Fprintf(w, "\nstart of a static program that exits at once, and wait; %d turns of %d starts\n", rounds, startsATurn)
	fmt.Fprintln(w, "targets: vfork and spawn ≤ 1.0 of syscall.ForkExec within the interval, fork ≤ 1.05 of the same in C")
	startHeader(w)
	for _, mb := range []int{16, 256, 1024} {
		heap, err := pages.InUse(mb << 20)
		if err != nil {
			return err
		}
		_, err = compareStarts(w, fmt.Sprintf("%d MB", mb), starters(path), rounds)
		unix.Munmap(heap)
		if err != nil {
			return err
		}
	}
	if err := withDescriptors(w, path, rounds); err != nil {
		return err
	}
	return compareParallel(w, path, max(rounds/parallelTurns, 3))
}

// withDescriptors compares the methods in a process with very many descriptors.
func withDescriptors(w io.Writer, path string, rounds int) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	open := make([]int, 0, descriptors)
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	for range descriptors {
		fd, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err == unix.EMFILE {
			fmt.Fprintf(w, "the limit on open files leaves %d of %d descriptors\n", len(open), descriptors)
			break
		}
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		open = append(open, fd)
	}
	if n := len(open); n > 10 { // some must be free for the measurement itself
		for _, fd := range open[n-10:] {
			unix.Close(fd)
		}
		open = open[:n-10]
	}
	_, err = compareStarts(w, fmt.Sprint(descriptors, " fds"), starters(path), rounds)
	return err
}

func startHeader(w io.Writer) {
	fmt.Fprintf(w, "%-9s  %-8s  %-24s  %-24s  %s\n", "heap", "method", "µs", "to syscall.ForkExec", "to the same in C")
}

// compareStarts has the starters take turns, writes a line for each and returns their
// turns.
func compareStarts(w io.Writer, heap string, list []starter, rounds int) (map[string][]float64, error) {
	runtime.GC()
	turns, err := takeTurns(list, rounds, func(s starter) (float64, error) {
		took, err := s.run(startsATurn)
		if err != nil {
			return 0, err
		}
		slices.Sort(took)
		return float64(took[len(took)/2].Nanoseconds()) / 1e3, nil
	})
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		inC := ""
		if floor := turns["C "+s.name]; floor != nil {
			inC = median(ratios(turns[s.name], floor), "%.3f")
		}
		line := fmt.Sprintf("%-9s  %-8s  %-24s  %-24s  %s", heap, s.name, median(turns[s.name], "%.0f"),
			median(ratios(turns[s.name], turns[rawfork.BySyscall.String()]), "%.3f"), inC)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	return turns, nil
}

func compareParallel(w io.Writer, path string, rounds int) error {
	fmt.Fprintf(w, "\n%d starts and waits from %d goroutines; %d turns\n", parallel, parallelBy, rounds)
	fmt.Fprintln(w, "target: vfork ≤ 1.0 of syscall.ForkExec")
	fmt.Fprintf(w, "%-8s  %-24s  %s\n", "method", "ms", "to syscall.ForkExec")
	var list []starter
	for _, m := range []rawfork.Method{rawfork.ByVfork, rawfork.BySpawn, rawfork.BySyscall} {
		list = append(list, starter{name: m.String(), run: func(n int) ([]time.Duration, error) {
			start := time.Now()
			err := startParallel(m, path, n)
			return []time.Duration{time.Since(start)}, err
		}})
	}
	turns, err := takeTurns(list, rounds, func(s starter) (float64, error) {
		took, err := s.run(parallel)
		return float64(took[0].Microseconds()) / 1e3, err
	})
	if err != nil {
		return err
	}
	for _, s := range list {
		fmt.Fprintf(w, "%-8s  %-24s  %s\n", s.name, median(turns[s.name], "%.0f"),
			median(ratios(turns[s.name], turns[rawfork.BySyscall.String()]), "%.3f"))
	}
	return nil
}

// startParallel starts n programs by parallelBy goroutines.
func startParallel(m rawfork.Method, path string, n int) error {
	errs := make([]error, parallelBy)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			for range (n + parallelBy - 1 - i) / parallelBy {
				if errs[i] = startAndWait(m, path); errs[i] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// takeTurns has each starter take its turn, rounds times, after one that isn't
// counted. The order is another one each time: after a fork its parent pays for pages
// that it writes to, and that must not always hit the same starter.
func takeTurns(list []starter, rounds int, turn func(starter) (float64, error)) (map[string][]float64, error) {
	turns := map[string][]float64{}
	random := rand.New(rand.NewPCG(1, 1)) // the same orders in every run
	for i := -1; i < rounds; i++ {
		for _, j := range random.Perm(len(list)) {
			s := list[j]
			value, err := turn(s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			if i >= 0 {
				turns[s.name] = append(turns[s.name], value)
			}
		}
	}
	return turns, nil
}
