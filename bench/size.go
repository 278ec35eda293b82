//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// size is what a fork of a process costs for.
type size struct {
	maps   int   // mappings
	pages  int   // of memory of its own that it has written to
	tables int   // of pages
	faults int64 // that it has had
}

// sizeOf reads a process's size.
func sizeOf(pid int) (s size, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return s, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return s, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, err
	}
	page := os.Getpagesize() >> 10 // kB
	s.maps = bytes.Count(maps, []byte("\n"))
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kB, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "RssAnon":
			s.pages = kB / page
		case "VmPTE":
			s.tables = kB / page
		}
	}
	const minflt = 7 // after the command's name, which is the last thing in parentheses
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if s.maps == 0 || s.pages == 0 || s.tables == 0 || len(fields) <= minflt {
		return s, fmt.Errorf("the size of process %d isn't in /proc", pid)
	}
	s.faults, err = strconv.ParseInt(fields[minflt], 10, 64)
	return s, err
}

// measured is the size of a server that serves, and how many pages it writes to for a
// connection: it is started, used, and stopped.
func (s *server) measured(use func(addr string) (connections int, err error)) (at size, writes int, err error) {
	if err := s.start(); err != nil {
		return at, 0, err
	}
	defer s.stop()
	if _, err := use(s.addr); err != nil { // until it is as large as it gets
		return at, 0, err
	}
	before, err := sizeOf(s.cmd.Process.Pid)
	if err != nil {
		return at, 0, err
	}
	n, err := use(s.addr)
	if err != nil {
		return at, 0, err
	}
	at, err = sizeOf(s.cmd.Process.Pid)
	return at, int(at.faults-before.faults+int64(n)/2) / n, err
}

// likeness returns the options of peers/size.h that make the server small as large as
// the server large, and those that have it write to as many pages after a fork, too.
// Both are started, used, and stopped for it.
func likeness(small, large *exec.Cmd, use func(addr string) (connections int, err error)) (asLarge, asBusy []string, err error) {
	one, few, err := (&server{name: small.Path, cmd: small}).measured(use)
	if err != nil {
		return nil, nil, err
	}
	other, many, err := (&server{name: large.Path, cmd: large}).measured(use)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range []struct {
		name string
		n    int
	}{{"-maps", other.maps - one.maps}, {"-pages", other.pages - one.pages}, {"-tables", other.tables - one.tables}} {
		asLarge = append(asLarge, o.name, strconv.Itoa(max(o.n, 0)))
	}
	return asLarge, append(slices.Clone(asLarge), "-writes", strconv.Itoa(max(many-few, 0))), nil
}
