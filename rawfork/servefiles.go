package main

import (
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"rawfork/helper"
)

// fileServer is the name of the function that serves files in a child.
const fileServer = "rawfork serve: files"

func init() { helper.Register(fileServer, serveFiles) }

// serveFiles serves the files of the working directory by HTTP over one connection.
// What it does to this process, good or bad, ends with the client.
func serveFiles(files []*os.File) int {
	conn, err := net.FileConn(files[0])
	files[0].Close()
	if err != nil {
		return 1
	}
	listener := &oneConn{conn: conn, over: make(chan struct{})}
	server := &http.Server{
		Handler:           http.FileServer(http.Dir(".")),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       10 * time.Second,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed || state == http.StateHijacked {
				listener.Close()
			}
		},
	}
	server.Serve(listener) // ends with the connection
	return 0
}

// oneConn is a listener that has one connection to give.
type oneConn struct {
	once, closing sync.Once
	conn          net.Conn
	over          chan struct{}
}

func (l *oneConn) Accept() (conn net.Conn, err error) {
	l.once.Do(func() { conn = l.conn })
	if conn != nil {
		return conn, nil
	}
	<-l.over
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.closing.Do(func() { close(l.over) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }
