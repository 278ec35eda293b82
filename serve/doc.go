// Package serve has servers that fork (C15): a child for each connection, so that a
// crash, a leak or a slow client in one harms no other.
//
//	listener, err := net.Listen("tcp", "127.0.0.1:7777")
//	...
//	server := &serve.Server{Handler: serve.Fork(child.Echo), MaxChildren: 100}
//	go server.Serve(listener)
//	...
//	server.Shutdown(ctx) // let the children finish; at ctx's end terminate, then kill
//
// What serves a connection is a [Handler]: a constrained function in a forked child
// ([Fork]), a program with the connection as its standard input and output
// ([Program]), or a Go function in a child of the helper, booted on demand or ahead
// ([Go]). The parent closes its copy of the connection as soon as the child has its
// own; the child has no descriptor of another client.
//
// Who wants threads that share memory, and thousands of short connections a second,
// takes goroutines; make bench measures the difference.
package serve
