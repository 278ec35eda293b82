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

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/lock"
)

const (
	writers = 4    // the parent and three children
	records = 1000 // of each
	length  = 16   // of a record
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("locking: ")
	for _, l := range []*lock.Lock{lock.None, lock.Flock, lock.Fcntl} {
		file, err := os.CreateTemp("", "locking")
		check(err)
		check(file.Close())
		mixed := mix(l, file.Name())
		fmt.Println(l.Name, mixed, "of", writers*records, "records mixed")
		check(os.Remove(file.Name()))
		if (mixed > 0) != (l == lock.None) {
			log.Fatalf("%s that is not what a lock does", l.Name)
		}
	}
}

// mix has all processes write at once and counts the records that are mixed.
func mix(l *lock.Lock, file string) (mixed int) {
	gate, opened, err := os.Pipe()
	check(err)
	gateFD, openedFD := int(gate.Fd()), int(opened.Fd())
	var pids []int
	for _, letter := range []string{"a", "b", "c"} {
		own := open(file)
		ownFD := int(own.Fd())
		pid, err := rawfork.Fork()
		if pid == 0 {
			child.Close(openedFD)
			var b [1]byte
			child.Read(gateFD, b[:]) // returns when the parent opens the gate
			write(l, ownFD, letter)
			child.Exit(0)
		}
		check(err)
		check(own.Close())
		pids = append(pids, pid)
	}
	own := open(file)
	check(opened.Close())
	write(l, int(own.Fd()), "p")
	for _, pid := range pids {
		_, err := rawfork.Wait(pid)
		check(err)
	}
	check(own.Close())
	check(gate.Close())
	text, err := os.ReadFile(file)
	check(err)
	for _, record := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if record == "" || record != strings.Repeat(record[:1], length) {
			mixed++
		}
	}
	return mixed
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

func open(file string) *os.File {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	check(err)
	return f
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
