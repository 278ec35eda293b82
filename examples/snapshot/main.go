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
	"bytes"
	"fmt"
	"io"
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
	rounds, saving := 0, true
	for saving {
		rounds++
		set(memory, 3+uint64(rounds))
		if rounds == 1 {
			check(other.Tell())
		}
		select {
		case err := <-ended:
			check(err)
			saving = false
		default:
		}
	}
	fmt.Printf("parent: %d more rounds through 256 MB while the child wrote\n", rounds)
	check(verify(file))
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
	first := unsafe.Slice((*byte)(unsafe.Pointer(&memory[0])), half*8)
	second := unsafe.Slice((*byte)(unsafe.Pointer(&memory[half])), half*8)
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

// verify finds whether the image in the file is that of the fork.
func verify(file *os.File) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for at := 0; at < words; at += len(block) / 8 {
		if _, err := io.ReadFull(file, block); err != nil {
			return fmt.Errorf("image, word %d: %w", at, err)
		}
		var word [8]byte
		word[0] = 3 // little-endian, as amd64 and arm64 are
		if at >= half {
			word[0] = 2
		}
		if !bytes.Equal(block, bytes.Repeat(word[:], len(block)/8)) {
			return fmt.Errorf("image, from word %d: not as it was at the fork", at)
		}
	}
	if n, _ := file.Read(block); n != 0 {
		return fmt.Errorf("image: longer than %d words", words)
	}
	return nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
