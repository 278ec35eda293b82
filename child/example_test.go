//go:build linux && cgo && (amd64 || arm64)

package child_test

import (
	"fmt"
	"net"
	"os"

	"rawfork"
	"rawfork/child"
)

// A child that says something and ends. Its line is put together on its stack and
// written at once.
func Example() {
	answer := 42
	stdout := int(os.Stdout.Fd()) // 1, but in a test
	pid, err := rawfork.Fork()
	if err != nil {
		fmt.Println(err)
		return
	}
	if pid == 0 {
		var line child.Line
		line.Text("hello from the child: the answer is ").Int(answer).Text("\n").Write(stdout)
		child.Exit(3)
	}
	status, err := rawfork.Wait(pid)
	fmt.Println("exit status", status.ExitStatus(), err)
	// Output:
	// hello from the child: the answer is 42
	// exit status 3 <nil>
}

// What a program needs is prepared before the fork; Exec returns only on failure.
func ExampleExec() {
	image, err := child.PrepareImage("/bin/echo", []string{"echo", "hello,", "world"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	stdout := int(os.Stdout.Fd())
	pid, err := rawfork.Fork()
	if err != nil {
		fmt.Println(err)
		return
	}
	if pid == 0 {
		child.Dup3(stdout, 1, 0) // EINVAL, and no harm, where it is 1 already
		child.Exec(image)
		child.Exit(127)
	}
	status, _ := rawfork.Wait(pid)
	fmt.Println("exit status", status.ExitStatus())
	// Output:
	// hello, world
	// exit status 0
}

// A child may fork again, and must reap its own children.
func ExampleFork() {
	stdout := int(os.Stdout.Fd())
	pid, err := rawfork.Fork()
	if err != nil {
		fmt.Println(err)
		return
	}
	if pid == 0 {
		grandchild, errno := child.Fork()
		if errno != 0 {
			child.Exit(1)
		}
		if grandchild == 0 {
			child.WriteString(stdout, "grandchild\n")
			child.Exit(7)
		}
		_, status, _ := child.Wait4(grandchild, 0)
		var line child.Line
		line.Text("child: it ended with ").Int(int(status) >> 8).Text("\n").Write(stdout)
		child.Exit(0)
	}
	rawfork.Wait(pid)
	// Output:
	// grandchild
	// child: it ended with 7
}

// buffer is made before the fork, as all memory that a child uses.
var buffer = make([]byte, 4096)

// shout is a handler of one's own: it sends back capital letters.
//
//go:nosplit
//go:norace
func shout(fd int) {
	for {
		n, errno := child.Read(fd, buffer)
		if errno != 0 || n == 0 {
			return
		}
		for i, c := range buffer[:n] {
			if 'a' <= c && c <= 'z' {
				buffer[i] = c - 'a' + 'A'
			}
		}
		child.Write(fd, buffer[:n])
	}
}

// A handler of one's own is marked nosplit and norace, and calls this package.
func ExampleRead() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	pid, err := rawfork.ServeConn(conn, shout)
	conn.Close() // the parent's copy
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(client, "can you hear me?")
	answer := make([]byte, 100)
	n, err := client.Read(answer)
	fmt.Printf("%s %v\n", answer[:n], err)
	client.Close()
	status, _ := rawfork.Wait(pid)
	fmt.Println("exit status", status.ExitStatus())
	// Output:
	// CAN YOU HEAR ME? <nil>
	// exit status 0
}
