//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"rawfork"
	"rawfork/child"
)

// One call, two returns. The child writes its line and ends; the parent waits
// for it and then writes its own.
func ExampleFork() {
	stdout := int(os.Stdout.Fd()) // 1, but in a test
	pid, err := rawfork.Fork()
	switch {
	case err != nil: // no child was made
		fmt.Println(err)
	case pid == 0: // the child: only package child, then Exec or Exit
		child.WriteString(stdout, "hello from the child\n")
		child.Exit(7)
	default: // the parent
		status, err := rawfork.Wait(pid)
		fmt.Println("exit status", status.ExitStatus(), err)
	}
	// Output:
	// hello from the child
	// exit status 7 <nil>
}

// What is to be exec'd is prepared before the fork.
func ExampleFork_exec() {
	image, err := child.PrepareImage("/bin/sh", []string{"sh", "-c", "exit 3"}, os.Environ())
	if err != nil {
		fmt.Println(err)
		return
	}
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.Exec(image)
		child.Exit(127) // only when that failed
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := rawfork.Wait(pid)
	fmt.Println("exit status", status.ExitStatus(), err)
	// Output: exit status 3 <nil>
}

// Wait tells the exit status, or the signal that ended the child.
func ExampleWait() {
	pid, err := rawfork.Fork()
	if pid == 0 {
		child.Pause()
		child.Exit(0)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	syscall.Kill(pid, syscall.SIGKILL)
	status, err := rawfork.Wait(pid)
	fmt.Println(status.Signaled(), status.Signal(), err)

	_, err = rawfork.Wait(pid) // it was reaped already
	fmt.Println(errors.Is(err, syscall.ECHILD))
	// Output:
	// true killed <nil>
	// true
}

// A child serves one descriptor and has no other but 0, 1 and 2.
func ExampleServe() {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	pid, err := rawfork.Serve(int(w.Fd()), sayHello)
	w.Close() // the parent's copy: the pipe ends when the child closes the last one
	if err != nil {
		fmt.Println(err)
		return
	}
	text, _ := io.ReadAll(r)
	status, err := rawfork.Wait(pid)
	fmt.Printf("%s, exit status %d %v\n", text, status.ExitStatus(), err)
	// Output: hello, exit status 0 <nil>
}

//go:nosplit
//go:norace
func sayHello(fd int) { child.WriteString(fd, "hello") }

// A forking server in its shortest form: a child of its own for the connection.
func ExampleServeConn() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	answer := make(chan string)
	go func() {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "echo this")
		conn.(*net.TCPConn).CloseWrite()
		text, _ := io.ReadAll(conn)
		answer <- string(text)
	}()

	conn, err := listener.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	pid, err := rawfork.ServeConn(conn, child.Echo)
	conn.Close() // the parent's copy
	fmt.Println(<-answer)
	if err == nil {
		rawfork.Wait(pid)
	}
	// Output: echo this
}

// The descriptor stays with the file, and is valid until the function returns.
func ExampleWithFD() {
	file, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	err = rawfork.WithFD(file, func(fd int) error {
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil {
			return err
		}
		fmt.Println("a character device:", st.Mode&syscall.S_IFMT == syscall.S_IFCHR)
		return nil
	})
	fmt.Println(err)
	// Output:
	// a character device: true
	// <nil>
}
