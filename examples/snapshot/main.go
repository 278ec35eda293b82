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
	"time"
	"unsafe"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
)

const (
	words = 256 << 20 / 8
	half  = words / 2
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("snapshot: ")
	file, err := os.CreateTemp("", "snapshot")
	check(err)
	check(os.Remove(file.Name())) // gone when both processes have closed it
	pair, err := turn.New()
	check(err)

	memory := make([]uint64, words)
	set(memory, 1)
	set(memory, 2)
	set(memory[:half], 3)
	pid, stopped := save(memory, int(file.Fd()), pair)
	fmt.Printf("forked in the middle of round 3, stopped for %.1f ms\n", stopped.Seconds()*1e3)
	set(memory[half:], 3)

	other, ended := pair.Parent(), make(chan error, 1)
	go func() { ended <- wait(pid) }()
	rounds := 0
	for len(ended) == 0 {
		rounds++
		set(memory, 3+uint64(rounds))
		if rounds == 1 {
			check(other.Tell())
		}
	}
	check(<-ended)
	fmt.Printf("parent: %d more rounds through 256 MB while the child wrote\n", rounds)
	verify(file)
	fmt.Printf("image: %d words, all as they were at the fork\n", words)
}

// set makes a round through the memory.
func set(memory []uint64, round uint64) {
	for i := range memory {
		memory[i] = round
	}
}

// save forks a child that writes the memory to fd. It returns the child's pid,
// and for how long the parent was kept from its work.
func save(memory []uint64, fd int, pair turn.Pair) (pid int, stopped time.Duration) {
	first, second := bytes(memory[:half]), bytes(memory[half:])
	start := time.Now()
	pid, err := rawfork.Fork()
	if pid == 0 {
		parent := pair.Child()
		if _, errno := child.Write(fd, first); errno != 0 {
			child.Exit(int(errno))
		}
		parent.Await()
		_, errno := child.Write(fd, second)
		child.Exit(int(errno))
	}
	check(err)
	return pid, time.Since(start)
}

// wait reaps the child. Its exit status is the errno of its writes.
func wait(pid int) error {
	status, err := rawfork.Wait(pid)
	if err == nil && status != 0 {
		err = fmt.Errorf("child: wait status %#x", status)
	}
	return err
}

// verify finds whether the image in the file is that of the fork, no more and no
// less.
func verify(file *os.File) {
	info, err := file.Stat()
	check(err)
	if info.Size() != words*8 {
		log.Fatalf("image of %d bytes, want %d", info.Size(), words*8)
	}
	block := make([]uint64, 1<<17)
	for at := 0; at < words; at += len(block) {
		_, err := file.ReadAt(bytes(block), int64(at)*8)
		check(err)
		for i, word := range block {
			if want := uint64(3 - (at+i)/half); word != want {
				log.Fatalf("image, word %d: %d, want %d, as at the fork", at+i, word, want)
			}
		}
	}
}

// bytes is the memory of the words.
func bytes(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
