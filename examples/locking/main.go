//go:build unix

// Locking lets a parent and three children append records to one file (C17). A
// record takes many writes. Without a lock the records mix; under flock(2), or
// under fcntl(2) record locks, they don't. A process that dies gives its lock
// back.
//
// Each process has the file opened for it alone: a flock belongs to the open file
// description, so processes that share one don't keep each other out.
//
//	$ go run ./examples/locking
//	no lock: 274 of 4000 records mixed
//	flock:   0 of 4000 records mixed
//	flock:   a child has the lock, the parent can't get it: resource temporarily unavailable
//	flock:   the child was killed, the parent gets it
//	fcntl:   0 of 4000 records mixed
//	fcntl:   a child has the lock, the parent can't get it: resource temporarily unavailable
//	fcntl:   the child was killed, the parent gets it
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
)

const (
	writers = 4    // the parent and three children
	records = 1000 // of each
	length  = 16   // of a record
)

// lock is a way to lock a file: the system call and its second arguments.
type lock struct {
	name                     string
	call, take, try, release uintptr
}

var (
	none  = &lock{name: "no lock:"}
	flock = &lock{"flock:  ", unix.SYS_FLOCK, unix.LOCK_EX, unix.LOCK_EX | unix.LOCK_NB, unix.LOCK_UN}
	fcntl = &lock{"fcntl:  ", unix.SYS_FCNTL, unix.F_SETLKW, unix.F_SETLK, unix.F_SETLK}

	// The third argument of fcntl: all of the file. flock has none.
	whole   = &unix.Flock_t{Type: unix.F_WRLCK}
	nothing = &unix.Flock_t{Type: unix.F_UNLCK}
)

// do makes the lock's system call, in children and in the parent.
//
//go:nosplit
//go:norace
func (l *lock) do(fd int, how uintptr, part *unix.Flock_t) (errno syscall.Errno) {
	if l != none {
		_, errno = child.Syscall(l.call, uintptr(fd), how, uintptr(unsafe.Pointer(part)), 0, 0, 0)
	}
	return errno
}

// write appends one process's records.
//
//go:nosplit
//go:norace
func (l *lock) write(fd int, letter string) {
	for range records {
		l.do(fd, l.take, whole)
		for range length {
			child.WriteString(fd, letter)
		}
		child.WriteString(fd, "\n")
		l.do(fd, l.release, nothing)
	}
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("locking: ")
	for _, l := range []*lock{none, flock, fcntl} {
		file, err := os.CreateTemp("", "locking")
		check(err)
		mixed := mix(l, file.Name())
		fmt.Println(l.name, mixed, "of", writers*records, "records mixed")
		givenBack := l == none || death(l, file.Name())
		check(file.Close())
		check(os.Remove(file.Name()))
		if (mixed > 0) != (l == none) || !givenBack {
			log.Fatalf("%s that is not what a lock does", l.name)
		}
	}
}

// mix has all processes write at once and counts the records that are mixed.
func mix(l *lock, file string) (mixed int) {
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
			l.write(ownFD, letter)
			child.Exit(0)
		}
		check(err)
		check(own.Close())
		pids = append(pids, pid)
	}
	own := open(file)
	check(opened.Close())
	l.write(int(own.Fd()), "p")
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

// death kills a child that has the lock. It tells whether the parent could get
// the lock after that, and only then.
func death(l *lock, file string) bool {
	pair, err := turn.New()
	check(err)
	own := open(file)
	ownFD := int(own.Fd())
	pid, err := rawfork.Fork()
	if pid == 0 {
		parent := pair.Child()
		l.do(ownFD, l.take, whole)
		parent.Tell()
		parent.Await()
		child.Exit(0)
	}
	check(err)
	check(own.Close())
	other, mine := pair.Parent(), open(file)
	check(other.Await())
	before := l.do(int(mine.Fd()), l.try, whole)
	fmt.Println(l.name, "a child has the lock, the parent can't get it:", before)
	check(syscall.Kill(pid, syscall.SIGKILL))
	_, err = rawfork.Wait(pid)
	check(err)
	after := l.do(int(mine.Fd()), l.try, whole)
	fmt.Println(l.name, "the child was killed, the parent gets it")
	check(other.Close())
	check(mine.Close())
	return before == syscall.EAGAIN && after == 0
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
