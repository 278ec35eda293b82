//go:build cgo && (amd64 || arm64)

package serve_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"rawfork/serve"
)

// wc(1) as a server: it counts what each client sends.
func ExampleServer() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := &serve.Server{
		Handler:     &serve.Program{Path: "wc", Args: []string{"-c"}},
		MaxChildren: 10,
	}
	go server.Serve(listener)

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	io.WriteString(conn, "hello")
	conn.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(conn)
	conn.Close()
	fmt.Printf("%s%v\n", answer, err)

	fmt.Println(server.Shutdown(context.Background()))
	fmt.Println(server.Counts())
	// Output:
	// 5
	// <nil>
	// <nil>
	// accepted 1, active 0, refused 0, dropped 0, failed forks 0, terminated 0, exit 0 1
}
