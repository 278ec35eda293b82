//go:build unix

// Snapshot saves an instant of 256 MB that don't stand still, as Redis does by
// BGSAVE: the child has the memory as it was at the fork, and writes it to a file
// while the parent goes on changing its own (C6, C14).
//
// The parent sets all words to 1, then all to 2, and so on, and forks in the
// middle of round 3: the image must be half 3 and half 2, whatever the parent has
// made of its memory by the time that it is written. To prove that every time,
// the child stops in the middle until the parent has changed every word.
//
//	$ go run ./examples/snapshot
//	forked in the middle of round 3, stopped for 34.5 ms
//	parent: 25 more rounds through 256 MB while the child wrote
//	image: 33554432 words, all as they were at the fork
package main

import (
	"fmt"
	"log"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
)

const size = 256 << 20

func main() {
	log.SetFlags(0)
	log.SetPrefix("snapshot: ")
	file, err := os.CreateTemp("", "snapshot")
	check(err)
	check(os.Remove(file.Name())) // gone when both processes have closed it
	fd := int(file.Fd())
	pair, err := turn.New()
	check(err)

	memory := make([]byte, size)
	words, half := asWords(memory), size/8/2
	set(words, 1)
	set(words, 2)
	set(words[:half], 3)
	start := time.Now()
	pid, err := rawfork.Fork()
	if pid == 0 {
		parent := pair.Child()
		_, failed := child.Write(fd, memory[:size/2])
		parent.Await()
		_, errno := child.Write(fd, memory[size/2:])
		child.Exit(int(failed | errno))
	}
	fmt.Printf("forked in the middle of round 3, stopped for %.1f ms\n", time.Since(start).Seconds()*1e3)
	check(err)
	set(words[half:], 3)

	other, ended := pair.Parent(), make(chan syscall.WaitStatus, 1)
	go func() {
		status, err := rawfork.Wait(pid)
		check(err)
		ended <- status
	}()
	rounds := 0
	for len(ended) == 0 {
		rounds++
		set(words, 3+uint64(rounds))
		if rounds == 1 {
			check(other.Tell())
		}
	}
	if status := <-ended; status != 0 { // the errno of the child's writes
		log.Fatalf("child: wait status %#x", status)
	}
	fmt.Printf("parent: %d more rounds through 256 MB while the child wrote\n", rounds)

	image, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	check(err)
	for i, word := range asWords(image) {
		if want := uint64(3 - i/half); word != want {
			log.Fatalf("image, word %d: %d, want %d, as at the fork", i, word, want)
		}
	}
	fmt.Printf("image: %d words, all as they were at the fork\n", len(words))
}

// set makes a round through the memory.
func set(words []uint64, round uint64) {
	for i := range words {
		words[i] = round
	}
}

func asWords(memory []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(memory))), len(memory)/8)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
