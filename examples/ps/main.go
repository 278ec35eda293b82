//go:build unix

// Ps shows processes as ps does, and what each has of its own (C1): a pid, open
// files, connections, memory, an environment, a current directory.
//
// A child starts with a copy of it all. It then closes what it doesn't need,
// goes to another directory and writes to 32 MB; the parent's column stays as it
// was.
//
//	$ go run ./examples/ps
//	    PID TTY      STAT   TIME COMMAND
//	  30420 ?        Rl     0:00 ps
//	  30426 ?        R      0:00 ps
//	                   parent        child
//	pid                 30420        30426
//	open files              9            4
//	connections             2            1
//	memory, MB              5           34
//	environment            42           42
//	directory               /        /proc
package main

import (
	"bytes"
	"fmt"
	"log"
	"net"
	"os"
	"strings"

	"rawfork"
	"rawfork/child"
	"rawfork/examples/internal/turn"
	"rawfork/internal/ps"
)

const mb = 1 << 20

// attributes is what a process has of its own, in the order that is printed.
type attributes struct {
	pid, files, connections, memory, environment int
	directory                                    string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("ps: ")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	memory := make([]byte, 32*mb) // the kernel gives its pages when they are written to
	directory, err := child.PrepareString("/proc")
	check(err)
	pair, err := turn.New()
	check(err)

	pid, err := rawfork.Fork()
	if pid == 0 {
		parent := pair.Child()
		child.KeepOnly(0, 1, 2, int(parent))
		child.Chdir(directory)
		for i := 0; i < len(memory); i += 4096 {
			memory[i] = 1
		}
		parent.Tell()
		parent.Await()
		child.Exit(0)
	}
	check(err)
	other := pair.Parent()
	check(other.Await())
	fmt.Println(ps.Header)
	for _, pid := range []int{os.Getpid(), pid} {
		line, err := ps.Line(pid)
		check(err)
		fmt.Println(line)
	}
	mine, its := read(os.Getpid()), read(pid)
	row := "%-12s %12v %12v\n"
	fmt.Printf(row, "", "parent", "child")
	fmt.Printf(row, "pid", mine.pid, its.pid)
	fmt.Printf(row, "open files", mine.files, its.files)
	fmt.Printf(row, "connections", mine.connections, its.connections)
	fmt.Printf(row, "memory, MB", mine.memory, its.memory)
	fmt.Printf(row, "environment", mine.environment, its.environment)
	fmt.Printf(row, "directory", mine.directory, its.directory)
	check(other.Tell())
	_, err = rawfork.Wait(pid)
	check(err)
	check(listener.Close())
	if its.connections >= mine.connections || its.files >= mine.files || its.memory < mine.memory+16 || its.directory != "/proc" {
		log.Fatal("the child's attributes are not its own")
	}
}

// read reads the attributes of a process from /proc.
func read(pid int) attributes {
	dir := fmt.Sprintf("/proc/%d/", pid)
	a := attributes{pid: pid}
	files, err := os.ReadDir(dir + "fd")
	check(err)
	for _, file := range files {
		// The listing itself has a descriptor, which is gone by now.
		if target, err := os.Readlink(dir + "fd/" + file.Name()); err == nil {
			a.files++
			if strings.HasPrefix(target, "socket:") {
				a.connections++
			}
		}
	}
	environment, err := os.ReadFile(dir + "environ")
	check(err)
	a.environment = bytes.Count(environment, []byte{0})
	statm, err := os.ReadFile(dir + "statm")
	check(err)
	var size, resident int
	_, err = fmt.Sscan(string(statm), &size, &resident)
	check(err)
	a.memory = resident * os.Getpagesize() / mb
	a.directory, err = os.Readlink(dir + "cwd")
	check(err)
	return a
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
