//go:build !(linux && cgo)

// Peers is the echo server in C inside of a Go process, where there is one.
package main

func main() { panic("the echo server needs linux and cgo") }
