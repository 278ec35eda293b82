//go:build unix

// Lockdeath shows that a process which dies gives its locks back (C17): a child
// that has the lock is killed, and the parent, which couldn't get it, gets it.
//
//	$ go run ./examples/lockdeath
//	flock:   a child has the lock, the parent can't get it: resource temporarily unavailable
//	flock:   the child was killed, the parent gets it
//	fcntl:   a child has the lock, the parent can't get it: resource temporarily unavailable
//	fcntl:   the child was killed, the parent gets it
package main

import (
	"fmt"
	"log"
	"os"
	"syscall"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/lock"
	"rawfork/examples/internal/turn"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("lockdeath: ")
	file, err := os.CreateTemp("", "lockdeath")
	check(err)
	check(file.Close())
	death(lock.Flock, file.Name())
	death(lock.Fcntl, file.Name())
	check(os.Remove(file.Name()))
}

// death kills a child that has the lock. The parent can get it after that, and
// only then.
func death(l *lock.Lock, file string) {
	pair, err := turn.New()
	check(err)
	own := open(file)
	ownFD := int(own.Fd())
	pid, err := rawfork.Fork()
	if pid == 0 {
		parent := pair.Child()
		l.Take(ownFD)
		parent.Tell()
		parent.Await()
		child.Exit(0)
	}
	check(err)
	check(own.Close())
	other, mine := pair.Parent(), open(file)
	check(other.Await())
	before := l.Try(int(mine.Fd()))
	fmt.Println(l.Name, "a child has the lock, the parent can't get it:", before)
	check(syscall.Kill(pid, syscall.SIGKILL))
	_, err = rawfork.Wait(pid)
	check(err)
	after := l.Try(int(mine.Fd()))
	check(other.Close())
	check(mine.Close())
	if before != syscall.EAGAIN || after != 0 {
		log.Fatalf("%s before the child's death %v, after it %v", l.Name, before, after)
	}
	fmt.Println(l.Name, "the child was killed, the parent gets it")
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
