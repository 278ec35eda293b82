//go:build cgo && (amd64 || arm64)

package compare

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"rawfork/helper"
)

// The functions that Go children run.
const (
	goStamp = "rawfork/compare: stamp"
	goHold  = "rawfork/compare: hold"
)

func init() {
	helper.Register(goStamp, func(files []*os.File) int { return stamp(files[0]) })
	helper.Register(goHold, func(files []*os.File) int {
		status := stamp(files[0])
		files[1].Read(make([]byte, 1)) // what ends it doesn't matter
		return status
	})
}

// Init is where a process that a run has started leaves the program's ordinary
// path: it measures, or is measured, and exits. In all others it does nothing but
// what [helper.Init] does. It must be the first call in main.
func Init() {
	helper.Init()
	play := os.Getenv(environment)
	os.Unsetenv(environment)
	switch play {
	case playStamp:
		os.Exit(stamp(os.NewFile(3, "stamp")))
	case playMeasure:
		if err := serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "measuring process:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// stamp writes the time, as the program of package program does. It returns the
// process's exit status.
func stamp(w io.Writer) int {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	if _, err := w.Write(timespecBytes(&now)); err != nil {
		return 1
	}
	return 0
}
