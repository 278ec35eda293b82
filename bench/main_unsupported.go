//go:build !(linux && cgo && (amd64 || arm64))

// Bench measures fork where there is one.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: fork needs linux/amd64 or linux/arm64 with cgo")
	os.Exit(1)
}
