// Command counted has a child, of Fork or of package helper, call a function, and prints
// the child's pid. Package rules builds it with -cover and looks for the counters.
package main

import (
	"fmt"
	"os"

	"rawfork"
	"rawfork/child"
	"rawfork/helper"
)

func init() {
	helper.Register("work", func([]*os.File) int {
		work()
		return 0
	})
}

func main() {
	helper.Init()
	run := byFork
	if len(os.Args) > 1 && os.Args[1] == "helper" {
		run = byHelper
	}
	pid, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "counted:", err)
		os.Exit(1)
	}
	fmt.Println(pid)
}

func byFork() (int, error) {
	pid, err := rawfork.Fork()
	if pid == 0 && err == nil {
		work()
		child.Exit(0)
	}
	if err == nil {
		_, err = rawfork.Wait(pid)
	}
	return pid, err
}

func byHelper() (int, error) {
	h, err := helper.Start(helper.Options{})
	if err != nil {
		return 0, err
	}
	defer h.Close()
	process, err := h.Go("work")
	if err != nil {
		return 0, err
	}
	_, err = process.Wait()
	return process.Pid, err
}

//lint:ignore U1000 it is written to, for the effect
var worked int

//go:nosplit
//go:norace
func work() { worked++ }
