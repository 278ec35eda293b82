//go:build linux

// Errors is a server that meets the two ways in which fork fails (C18): EAGAIN at
// the limit on processes, ENOMEM when the kernel can't promise memory for a copy.
// It logs the error, drops the one connection or keeps it for later, and goes on.
// Nothing is left of a failed fork: no child, no descriptor.
//
// The limit (RLIMIT_NPROC) is exempt for root, who becomes nobody first. For want
// of memory it claims more than the machine has, in two steps, since the kernel
// refuses one step that obvious; it uses none of it.
//
//	$ go run ./examples/errors
//	connection 1: served
//	connection 2: serve fd 9: fork: resource temporarily unavailable: dropped
//	connection 3: serve fd 9: fork: cannot allocate memory: delayed
//	connection 3: served
//	connection 4: served
//	left: 0 children, 0 descriptors
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/ps"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("errors: ")
	if os.Geteuid() == 0 {
		check(syscall.Setgid(65534))
		check(syscall.Setuid(65534))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	before := descriptors()

	client, conn := connect(listener)
	serve(1, client, conn)

	client, conn = connect(listener)
	atProcessLimit(func() { refused(2, conn, syscall.EAGAIN) })
	fmt.Println("dropped")
	check(conn.Close())
	if n, err := client.Read(make([]byte, 1)); err != io.EOF {
		log.Fatalf("dropped client read %d bytes, %v", n, err)
	}
	check(client.Close())

	client, conn = connect(listener)
	if overcommit() {
		fmt.Println("connection 3: vm.overcommit_memory hides ENOMEM")
	} else {
		withoutMemory(func() { refused(3, conn, syscall.ENOMEM) })
		fmt.Println("delayed")
	}
	serve(3, client, conn)

	client, conn = connect(listener)
	serve(4, client, conn)
	children, err := ps.Children(os.Getpid())
	check(err)
	left := descriptors() - before
	fmt.Printf("left: %d children, %d descriptors\n", len(children), left)
	if len(children) != 0 || left != 0 {
		log.Fatal("a failed fork left something")
	}
}

// serve serves the connection in a child, to the end.
func serve(number int, client, conn net.Conn) {
	pid, err := rawfork.ServeConn(conn, child.Echo)
	check(err)
	check(conn.Close())
	_, err = client.Write([]byte("hello"))
	check(err)
	var answer [5]byte
	_, err = io.ReadFull(client, answer[:])
	check(err)
	check(client.Close())
	_, err = rawfork.Wait(pid)
	check(err)
	fmt.Printf("connection %d: served\n", number)
}

// refused tries to serve a connection, which must fail with want.
func refused(number int, conn net.Conn, want syscall.Errno) {
	pid, err := rawfork.ServeConn(conn, child.Echo)
	if !errors.Is(err, want) {
		log.Fatalf("connection %d: pid %d, %v, want %v", number, pid, err, want)
	}
	fmt.Printf("connection %d: %v: ", number, err)
}

// atProcessLimit runs try while this user may have no more processes. Threads
// are processes to the kernel, and the Go runtime dies if it gets none for a
// while: that is why it is the shortest of times.
func atProcessLimit(try func()) {
	var limit unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_NPROC, &limit))
	check(unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	try()
	check(unix.Setrlimit(unix.RLIMIT_NPROC, &limit))
}

// withoutMemory runs try while this process has claimed more memory than there
// is.
func withoutMemory(try func()) {
	var info unix.Sysinfo_t
	check(unix.Sysinfo(&info))
	size := int((info.Totalram+info.Totalswap)*uint64(info.Unit)) / 4 * 3 &^ 0xffff
	claim, err := unix.Mmap(-1, 0, 2*size, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	check(err)
	check(unix.Mprotect(claim[:size], unix.PROT_READ|unix.PROT_WRITE))
	check(unix.Mprotect(claim[size:], unix.PROT_READ|unix.PROT_WRITE))
	try()
	check(unix.Munmap(claim))
}

// overcommit tells whether the system is set, against the default, to promise
// all memory that is asked for (1), or to be strict about each claim (2).
func overcommit() bool {
	text, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	check(err)
	return strings.TrimSpace(string(text)) != "0"
}

func connect(listener net.Listener) (client, conn net.Conn) {
	client, err := net.Dial("tcp", listener.Addr().String())
	check(err)
	conn, err = listener.Accept()
	check(err)
	return client, conn
}

func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	check(err)
	return len(entries)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
