//go:build linux && cgo && (amd64 || arm64)

package helper_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"rawfork/helper"
	"rawfork/internal/ccall"
	"rawfork/internal/forktest"
)

// The functions that the tests' children run.
func init() {
	// run does what Go programs do, so that a runtime that isn't whole shows.
	helper.Register("run", func(files []*os.File) int {
		runtime.GC()
		done := make(chan int)
		for i := range 100 {
			go func() { time.Sleep(time.Millisecond); done <- i }()
		}
		sum := 0
		for range 100 {
			sum += <-done
		}
		if out, err := exec.Command("/bin/echo", "-n", "ok").Output(); err != nil || string(out) != "ok" {
			return 1
		}
		if sum != 4950 {
			return 2
		}
		return 7
	})
	helper.Register("tid", func(files []*os.File) int {
		fmt.Fprintf(files[0], "libc %d\nkernel %d\n", ccall.FirstTID(), os.Getpid())
		return 0
	})
	helper.Register("null", func([]*os.File) int { return 0 })
	helper.Register("describe", describe)
	helper.Register("echo", func(files []*os.File) int {
		io.Copy(files[0], files[0])
		return 0
	})
	helper.Register("wait", func(files []*os.File) int { // until the file ends
		io.Copy(io.Discard, files[0])
		return 0
	})
	helper.Register("nofile", func(files []*os.File) int { // soft limit of a program's start
		cmd := exec.Command("/bin/sh", "-c", "ulimit -S -n")
		cmd.Stdout = files[0]
		if cmd.Run() != nil {
			return 1
		}
		return 0
	})
	helper.Register("count", func(files []*os.File) int { return len(files) })
	helper.Register("panic", func([]*os.File) int { panic("on purpose") })
	helper.Register("exit", func([]*os.File) int { os.Exit(9); return 0 })
	helper.Register("kill", func([]*os.File) int { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} })
	helper.Register("signals", func(files []*os.File) int { // a handler works as ever
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-c
		return 0
	})
	helper.Register(strings.Repeat("n", 4096), func([]*os.File) int { return 5 })
}

// describe writes what the child is to its first file.
func describe(files []*os.File) int {
	dir, _ := os.Getwd()
	fmt.Fprintf(files[0], "args %q\n", os.Args)
	fmt.Fprintf(files[0], "dir %s\n", dir)
	fmt.Fprintf(files[0], "ppid %d\n", os.Getppid())
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if mask, ok := strings.CutPrefix(line, "SigBlk:\t"); ok {
			fmt.Fprintf(files[0], "mask %s\n", mask)
		}
	}
	for _, entry := range os.Environ() {
		fmt.Fprintf(files[0], "env %s\n", entry)
	}
	for _, file := range openFiles() {
		fmt.Fprintf(files[0], "fd %s\n", file)
	}
	return 0
}

// openFiles lists what this process has open, but for what the Go runtime opened
// for itself: its poller, and the cgroup's limit that GOMAXPROCS follows.
func openFiles() []string {
	var open []string
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		switch {
		case err != nil, strings.HasPrefix(target, "anon_inode:[event"), strings.HasPrefix(target, "/sys/fs/cgroup/"):
			continue
		}
		open = append(open, e.Name()+" "+target)
	}
	return open
}

// noInitEnv makes a process of the tests one that forgets Init.
const noInitEnv = "HELPER_TEST_NO_INIT"

func TestMain(m *testing.M) {
	if os.Getenv(noInitEnv) == "" {
		helper.Init()
	}
	forktest.Main(m, map[string]func(){
		"changed":  changed,
		"inherits": inherits,
		"limits":   limitsHelper,
		"nofile":   nofile,
		"parent":   parentHelper,
		"noinit":   noInit,
		"byhand":   func() {},
		"replaced": replaced,
	})
}

// start starts a helper that ends with the test.
func start(t testing.TB, options helper.Options) *helper.Helper {
	t.Helper()
	h, err := helper.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// wantExit waits for a child with the watchdog.
func wantExit(t testing.TB, process *os.Process, code int) {
	t.Helper()
	forktest.WantExit(t, process.Pid, code)
	process.Release()
}

// run runs a function in a child and returns what it wrote to its first file.
func run(t testing.TB, h *helper.Helper, name string, files ...*os.File) string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	process, err := h.Go(name, append([]*os.File{write}, files...)...)
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	text.ReadFrom(read)
	wantExit(t, process, 0)
	return text.String()
}

// lines returns the lines that begin with the word, without it.
func lines(text, word string) []string {
	var found []string
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			found = append(found, rest)
		}
	}
	return found
}
