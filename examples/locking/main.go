//go:build unix

// Locking lets a parent and three children append records to one file (C17). A
// record takes many writes. Without a lock the records mix; under flock(2), or
// under fcntl(2) record locks, they don't.
//
// Each process has the file opened for it alone: a flock belongs to the open file
// description, so processes that share one don't keep each other out.
//
//	$ go run ./examples/locking
//	no lock: 274 of 4000 records mixed
//	flock:   0 of 4000 records mixed
//	fcntl:   0 of 4000 records mixed
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/lock"
)

// The parent and three children write, each so many records of so many letters.
const writers, records, length = 4, 1000, 16

func main() {
	log.SetFlags(0)
	log.SetPrefix("locking: ")
	for _, l := range []*lock.Lock{lock.None, lock.Flock, lock.Fcntl} {
		file, err := os.CreateTemp("", "locking")
		check(err)
		mix(l, file.Name())
		text, err := os.ReadFile(file.Name())
		check(err)
		check(os.Remove(file.Name()))
		check(file.Close())
		mixed := 0
		for record := range strings.Lines(string(text)) {
			if record != strings.Repeat(record[:1], length)+"\n" {
				mixed++
			}
		}
		fmt.Println(l.Name, mixed, "of", writers*records, "records mixed")
		if (mixed > 0) != (l == lock.None) {
			log.Fatalf("%s that is not what a lock does", l.Name)
		}
	}
}

// mix has all processes write to the file at once.
func mix(l *lock.Lock, file string) {
	var gate [2]int
	check(unix.Pipe(gate[:]))
	var own, pids [writers]int
	var err error
	for i := range writers {
		own[i], err = unix.Open(file, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
		check(err)
	}
	for i := 1; i < writers; i++ {
		pids[i], err = rawfork.Fork()
		if pids[i] == 0 {
			child.Close(gate[1])
			var b [1]byte
			child.Read(gate[0], b[:]) // returns when the parent opens the gate
			write(l, own[i], "pabc"[i:i+1])
			child.Exit(0)
		}
		check(err)
	}
	check(unix.Close(gate[1]))
	write(l, own[0], "p")
	for i := 1; i < writers; i++ {
		_, err = rawfork.Wait(pids[i])
		check(err)
	}
	for _, fd := range append(own[:], gate[0]) {
		check(unix.Close(fd))
	}
}

// write appends one process's records.
//
//go:nosplit
//go:norace
func write(l *lock.Lock, fd int, letter string) {
	for range records {
		l.Take(fd)
		for range length {
			child.WriteString(fd, letter)
		}
		child.WriteString(fd, "\n")
		l.Release(fd)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
