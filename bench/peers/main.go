//go:build linux && cgo

// Peers is the echo server in C inside of a Go process: what a fork costs there
// because of the process, and not because of the language. It forks by libc's fork
// or, with the argument _Fork and where libc has it, by what rawfork calls. Takes the
// options of size.h.
package main

// #cgo CFLAGS: -Wall -Wextra -Werror -O2
// #include "echo.h"
// #include "size.h"
import "C"

import (
	"fmt"
	"log"
	"net"
	"os"
	"syscall"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	argv := make([]*C.char, len(os.Args))
	for i, arg := range os.Args {
		argv[i] = C.CString(arg) // for as long as the process lives
	}
	C.size(C.int(len(argv)), &argv[0])
	bare := C.int(0)
	if len(os.Args) > 1 && os.Args[1] == "_Fork" {
		bare = 1
	}
	// Fd makes the listener blocking, as the C program's is.
	errno := C.echo(C.int(file.Fd()), bare)
	log.Fatal("accept: ", syscall.Errno(errno))
}
