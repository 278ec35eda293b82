//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// describeMachine writes what the figures depend on.
func describeMachine(w io.Writer) {
	fmt.Fprintln(w, "date:         ", time.Now().UTC().Format("2006-01-02"))
	fmt.Fprintln(w, "processor:    ", field("/proc/cpuinfo", "model name"), "×", runtime.NumCPU())
	fmt.Fprintln(w, "memory:       ", field("/proc/meminfo", "MemTotal"))
	fmt.Fprintln(w, "kernel:       ", first("/proc/sys/kernel/osrelease"))
	fmt.Fprintln(w, "huge pages:   ", first("/sys/kernel/mm/transparent_hugepage/enabled"))
	fmt.Fprintln(w, "go:           ", runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	fmt.Fprintln(w, "load at start:", loadAverage())
}

func loadAverage() string {
	fields := strings.Fields(first("/proc/loadavg"))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// first is the first line of a file of /proc or /sys.
func first(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// field is the first value of a key in a file of "key: value" lines.
func field(name, key string) string {
	text, _ := os.ReadFile(name)
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
