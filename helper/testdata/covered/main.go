// Covered is built with -cover by a test: it runs a Go child and prints its pid.
package main

import (
	"fmt"
	"os"

	"rawfork/helper"
)

func main() {
	helper.Register("null", func([]*os.File) int { return 0 })
	helper.Init()
	if err := run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run() error {
	h, err := helper.Start(helper.Options{})
	if err != nil {
		return err
	}
	defer h.Close()
	process, err := h.Go("null")
	if err != nil {
		return err
	}
	fmt.Print(process.Pid)
	_, err = process.Wait()
	return err
}
