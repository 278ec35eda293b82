//go:build linux && cgo && amd64 && race

package forkall_test

import (
	"fmt"
	"io"

	"rawfork/forkall"
)

// The race detector is at work in the child: it ends the child with its status, 66.
func init() {
	contract = append(contract, contractCase{"race", raceInChild, "exit status 66\n"})
}

func raceInChild(w io.Writer) {
	fmt.Fprintln(w, run(forkall.Options{}, func() int {
		x, done := 0, make(chan bool)
		go func() {
			x++
			done <- true
		}()
		x++
		<-done
		_ = x
		return 0
	}))
}
