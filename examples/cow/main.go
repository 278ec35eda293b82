//go:build linux

// Cow shows copy-on-write: fork copies page tables, not pages (C14).
//
// Right after the fork almost all memory is shared, as smaps_rollup tells of
// child and parent. The child writes to half of it: that half is copied, and is
// private in both from then on. The page tables do get copied, so the time of a
// fork grows with the memory in use.
//
//	$ go run ./examples/cow
//	MB                       child               parent
//	                         private   shared    private   shared
//	after the fork                 0       65          1       66
//	child wrote 32 MB             32       33         33       34
//
//	 16 MB in use: fork 1.7 ms
//	 64 MB in use: fork 2.5 ms
//	256 MB in use: fork 7.8 ms
package main

import (
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
)

const mb = 1 << 20

func main() {
	log.SetFlags(0)
	log.SetPrefix("cow: ")
	memory := inUse(64 * mb)
	pair, err := turn.New()
	check(err)
	pid, err := rawfork.Fork()
	if pid == 0 {
		parent := pair.Child()
		parent.Await()
		for i := 0; i < len(memory)/2; i += 4096 {
			memory[i] = 2
		}
		parent.Tell()
		parent.Await()
		child.Exit(0)
	}
	check(err)
	other := pair.Parent()
	fmt.Printf("%-24s %-19s %s\n%-24s %-9s %-9s %-9s %s\n",
		"MB", "child", "parent", "", "private", "shared", "private", "shared")
	before := show("after the fork", pid)
	check(other.Tell())
	check(other.Await())
	after := show("child wrote 32 MB", pid)
	check(other.Tell())
	_, err = rawfork.Wait(pid)
	check(err)
	check(unix.Munmap(memory))
	// What the child needs to run, its stack for one, is copied beside.
	if before > 4 || after < 32 || after > 36 {
		log.Fatalf("the child had %d MB of its own, and %d after writing 32", before, after)
	}

	fmt.Println()
	for _, size := range []int{16, 64, 256} {
		memory := inUse(size * mb)
		fmt.Printf("%3d MB in use: fork %.1f ms\n", size, forkTime().Seconds()*1e3)
		check(unix.Munmap(memory))
	}
}

// inUse makes memory and writes to each of its pages: small pages, as huge ones
// are copied 2 MB at a time, and have few page tables.
func inUse(size int) []byte {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	check(err)
	unix.Madvise(memory, unix.MADV_NOHUGEPAGE) // EINVAL: there are none anyway
	for i := 0; i < size; i += 4096 {
		memory[i] = 1
	}
	return memory
}

// show prints the page counts of child and parent and returns the child's
// private ones, all in MB.
func show(when string, pid int) (private int) {
	private, shared := counts(pid)
	parentPrivate, parentShared := counts(os.Getpid())
	fmt.Printf("%-22s %9d %8d %10d %8d\n", when, private, shared, parentPrivate, parentShared)
	return private
}

// counts adds up what smaps_rollup says of a process.
func counts(pid int) (private, shared int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	check(err)
	for _, line := range strings.Split(string(text), "\n") {
		var kind string
		var kb int
		fmt.Sscanf(line, "%s %d kB", &kind, &kb) // the first line is of another form
		switch kind {
		case "Private_Clean:", "Private_Dirty:":
			private += kb
		case "Shared_Clean:", "Shared_Dirty:":
			shared += kb
		}
	}
	return private / 1024, shared / 1024
}

// forkTime is the median of five forks.
func forkTime() time.Duration {
	var times []time.Duration
	for range 5 {
		start := time.Now()
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Exit(0)
		}
		times = append(times, time.Since(start))
		check(err)
		_, err = rawfork.Wait(pid)
		check(err)
	}
	slices.Sort(times)
	return times[2]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
