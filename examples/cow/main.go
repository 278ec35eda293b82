//go:build linux

// Cow shows copy-on-write: fork copies page tables, not pages (C14).
//
// Right after the fork almost all memory is shared, as package procstate
// tells of child and parent. The child writes to half of it: that half is copied, and is
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
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
	"rawfork/internal/pages"
	"rawfork/procstate"
)

const mb = 1 << 20

func main() {
	log.SetFlags(0)
	log.SetPrefix("cow: ")
	memory, err := pages.InUse(64 * mb)
	check(err)
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
		memory, err := pages.InUse(size * mb)
		check(err)
		start := time.Now()
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Exit(0)
		}
		fmt.Printf("%3d MB in use: fork %.1f ms\n", size, time.Since(start).Seconds()*1e3)
		check(err)
		_, err = rawfork.Wait(pid)
		check(err)
		check(unix.Munmap(memory))
	}
}

// show prints the page counts of child and parent and returns the child's
// private ones, all in MB.
func show(when string, pid int) (private uint64) {
	private, shared := counts(pid)
	parentPrivate, parentShared := counts(os.Getpid())
	fmt.Printf("%-22s %9d %8d %10d %8d\n", when, private, shared, parentPrivate, parentShared)
	return private
}

// counts are the MB that a process has of its own, and those that others have too.
func counts(pid int) (private, shared uint64) {
	state, err := procstate.ReadParts(pid, procstate.Totals)
	check(err)
	m := state.Memory
	return (m.PrivateClean + m.PrivateDirty) / mb, (m.SharedClean + m.SharedDirty) / mb
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
