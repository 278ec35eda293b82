//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/bench/cloop"
	"rawfork/helper"
	"rawfork/internal/pages"
	"rawfork/internal/program"
	"rawfork/internal/ps"
)

const (
	helperStamp = "bench: stamp" // the name of the function that writes the time
	playStamp   = "stamp"        // the same, as a program of its own
	playParent  = "parent"       // a program with a helper, to be killed

	readyChildren = 8
	bootLimit     = time.Minute // for all of them to boot
)

func init() {
	helper.Register(helperStamp, func(files []*os.File) int { return stamp(files[0]) })
}

// stamp is the first line of Go code of a child: it writes the time.
func stamp(file *os.File) int {
	at := now()
	if _, err := file.Write(unsafe.Slice((*byte)(unsafe.Pointer(&at)), unsafe.Sizeof(at))); err != nil {
		return 1
	}
	return 0
}

// now is a clock that all processes share, in ns.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // no argument of it can be wrong
	}
	return ts.Nano()
}

// benchHelper measures package helper: the start of programs against the other
// methods, and what Go children and ready ones cost.
func benchHelper(w io.Writer, rounds int) error {
	return errors.Join(helperStarts(w, rounds), goChildren(w, rounds), readyMemory(w), parentKilled(w, max(rounds/4, 3)))
}

// helperStarts compares the methods at heaps of up to 4 GB, of which the machine
// must have half as much again.
func helperStarts(w io.Writer, rounds int) error {
	path, err := program.Write(program.Exit())
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(path))
	h, err := helper.Start(helper.Options{})
	if err != nil {
		return err
	}
	defer h.Close()
	ask, stop, err := forkServer(path)
	if err != nil {
		return err
	}
	defer stop()
	list := []starter{{"C helper", ask}}
	for _, m := range []rawfork.Method{rawfork.ByHelper, rawfork.ByVfork, rawfork.ByFork, rawfork.BySyscall} {
		list = append(list, starter{m.String(), func(n int) ([]time.Duration, error) { return startLoop(m, path, n) }})
	}
	fmt.Fprintf(w, "\nstart of the same program by the helper, and wait; %d turns of %d starts\n", rounds, startsATurn)
	fmt.Fprintln(w, "C helper is a fork server in C: the same round trip, without a look at what the caller has changed")
	fmt.Fprintln(w, "targets: helper ≤ 1.1 of syscall.ForkExec, and at 4 GB ≤ 1.1 of itself at 16 MB")
	startHeader(w)
	var smallest float64
	for _, mb := range []int{16, 256, 1024, 4096} {
		if free := available(); mb<<10+mb<<9 > free {
			fmt.Fprintf(w, "%d MB: not measured, the machine has %d MB available\n", mb, free>>10)
			continue
		}
		heap, err := pages.InUse(mb << 20)
		if err != nil {
			return err
		}
		turns, err := compareStarts(w, fmt.Sprintf("%d MB", mb), list, rounds)
		unix.Munmap(heap)
		if err != nil {
			return err
		}
		m := middle(turns[rawfork.ByHelper.String()])
		if smallest == 0 {
			smallest = m
			continue
		}
		fmt.Fprintf(w, "%-9s  %-8s  %.3f of 16 MB\n", "", "helper", m/smallest)
	}
	return nil
}

// forkServer starts the same round trip in C, without all that package helper does beside
// it: a process that starts the program at path when it is asked to. stop ends it.
func forkServer(path string) (ask func(n int) ([]time.Duration, error), stop func(), err error) {
	dir, err := os.MkdirTemp("", "rawfork-bench")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, sources); err != nil {
		return nil, nil, err
	}
	server := filepath.Join(dir, "forkserver")
	if err := build(cmp.Or(os.Getenv("CC"), "cc"), "-O2", "-Wall", "-Wextra", "-Werror", "-o", server,
		filepath.Join(dir, "peers", "forkserver", "main.c")); err != nil {
		return nil, nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "forkserver")
	defer theirs.Close()
	cmd := exec.Command(server, path)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		unix.Close(pair[0])
		return nil, nil, err
	}
	ask = func(n int) ([]time.Duration, error) { return cloop.Ask(pair[0], n) }
	return ask, func() { unix.Close(pair[0]); cmd.Wait() }, nil
}

// available is how many kB of memory can be used without swapping.
func available() int {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kB, _ := strconv.Atoi(fields[0])
	return kB
}

// goChildren compares what it takes from the request to the first line of Go code.
func goChildren(w io.Writer, rounds int) error {
	r, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer write.Close()
	figures := map[string][]float64{}
	measure := func(name string, n int, prepare, run func() error) error {
		for range n {
			if err := prepare(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			begun := now()
			if err := run(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			var at int64
			if _, err := io.ReadFull(r, unsafe.Slice((*byte)(unsafe.Pointer(&at)), unsafe.Sizeof(at))); err != nil {
				return err
			}
			figures[name] = append(figures[name], float64(at-begun)/1e3)
		}
		return nil
	}
	reexec := func() error {
		cmd := exec.Command("/proc/self/exe", "-server", playStamp)
		cmd.ExtraFiles = []*os.File{write}
		return cmd.Run()
	}
	const (
		again   = "os/exec of itself"
		boots   = "Go child that boots"
		ready   = "ready Go child, all booted"
		hurried = "ready, one request after the other"
	)
	nothing := func() error { return nil }
	for range rounds {
		if err := measure(again, readyChildren/2, nothing, reexec); err != nil {
			return err
		}
		err := withHelper(0, write, func(_, run func() error) error { return measure(boots, readyChildren/2, nothing, run) })
		if err != nil {
			return err
		}
		err = withHelper(readyChildren, write, func(boot, run func() error) error {
			if err := measure(ready, readyChildren/2, boot, run); err != nil {
				return err
			}
			return measure(hurried, 4*readyChildren, nothing, run)
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\nrequest to the first line of Go code in the child; %d turns; %d ready children\n", rounds, readyChildren)
	fmt.Fprintln(w, "targets: a booted child ≤ 0.05 of os/exec of itself, one that boots ≤ 1")
	fmt.Fprintf(w, "%-36s  %-24s  %s\n", "", "µs", "to os/exec of itself")
	for _, name := range []string{again, boots, ready, hurried} {
		fmt.Fprintf(w, "%-36s  %-24s  %.3f\n", name, median(figures[name], "%.0f"), middle(figures[name])/middle(figures[again]))
	}
	return nil
}

// withHelper has use run Go children of a new helper, which write the time to file; boot
// waits until the ready ones have booted.
func withHelper(ready int, file *os.File, use func(boot, run func() error) error) error {
	h, err := helper.Start(helper.Options{Ready: ready})
	if err != nil {
		return err
	}
	defer h.Close()
	return use(func() error { return waitReady(h) }, func() error {
		process, err := h.Go(helperStamp, file)
		if err != nil {
			return err
		}
		state, err := process.Wait()
		if err == nil && !state.Success() {
			err = errors.New(state.String())
		}
		return err
	})
}

func waitReady(h *helper.Helper) error {
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	defer cancel()
	return h.WaitReady(ctx)
}

// readyMemory tells what waiting children cost.
func readyMemory(w io.Writer) error {
	h, err := helper.Start(helper.Options{Ready: readyChildren})
	if err != nil {
		return err
	}
	defer h.Close()
	if err := waitReady(h); err != nil {
		return err
	}
	children, err := ps.Children(os.Getpid())
	if err != nil {
		return err
	}
	var waiting []float64
	var own float64
	for _, pid := range children {
		kB, err := proportional(pid)
		if err != nil {
			return err
		}
		if pid == h.Pid() {
			own = kB
		} else {
			waiting = append(waiting, kB)
		}
	}
	fmt.Fprintf(w, "\nmemory, proportional set size: helper %.0f kB; each of %d ready children, kB: %s\n", own, len(waiting), median(waiting, "%.0f"))
	return nil
}

// proportional is the proportional set size of a process in kB.
func proportional(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(text, []byte("\nPss:"))
	fields := bytes.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, fmt.Errorf("no Pss in smaps_rollup of process %d", pid)
	}
	return strconv.ParseFloat(string(fields[0]), 64)
}

// playKilled is the program that is killed: it tells its helper's and the waiting
// children's pids.
func playKilled() error {
	h, err := helper.Start(helper.Options{Ready: readyChildren})
	if err != nil {
		return err
	}
	defer h.Close()
	if err := waitReady(h); err != nil {
		return err
	}
	children, err := ps.Children(os.Getpid())
	if err != nil {
		return err
	}
	fmt.Println(strings.Trim(fmt.Sprint(children), "[]"))
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// parentKilled measures from the SIGKILL of a program until its helper and the
// waiting children have ended.
func parentKilled(w io.Writer, rounds int) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	var took []float64
	for range rounds {
		ms, err := killParent()
		if err != nil {
			return err
		}
		took = append(took, ms)
	}
	fmt.Fprintf(w, "\nSIGKILL of the program until its helper and %d ready children are gone, ms; %d turns: %s (target ≤ 100)\n",
		readyChildren, rounds, median(took, "%.1f"))
	return nil
}

func killParent() (ms float64, err error) {
	cmd := exec.Command("/proc/self/exe", "-server", playParent)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	var family []unix.PollFd
	var pids []int
	for _, field := range strings.Fields(line) {
		pid, _ := strconv.Atoi(field)
		fd, openErr := unix.PidfdOpen(pid, 0)
		if openErr != nil {
			err = errors.Join(err, fmt.Errorf("pidfd_open %d: %w", pid, openErr))
			continue
		}
		defer unix.Close(fd)
		pids, family = append(pids, pid), append(family, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	begun := now()
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		return 0, err
	}
	for len(family) > 0 {
		if n, err := unix.Poll(family, 10_000); err != nil && err != unix.EINTR {
			return 0, os.NewSyscallError("poll", err)
		} else if n == 0 {
			return 0, errors.New("what a killed program left lives on for 10 s")
		}
		family = slices.DeleteFunc(family, func(p unix.PollFd) bool { return p.Revents != 0 })
	}
	ms = float64(now()-begun) / 1e6
	for _, pid := range pids { // orphans of the program are ours
		if _, err := rawfork.Wait(pid); err != nil && !errors.Is(err, syscall.ECHILD) {
			return 0, err
		}
	}
	return ms, nil
}
