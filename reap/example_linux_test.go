//go:build cgo && (amd64 || arm64)

package reap_test

import (
	"context"
	"fmt"
	"os/exec"

	"rawfork"
	"rawfork/reap"
)

// os/exec keeps the status of its program while a Reaper takes that of its own.
func Example() {
	r, err := reap.New(reap.Options{})
	if err != nil {
		panic(err)
	}
	defer r.Close()
	child, err := r.Start(func() (int, error) {
		return rawfork.ForkExec("/bin/sh", []string{"sh", "-c", "exit 3"}, nil)
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("os/exec:", exec.Command("/bin/sh", "-c", "exit 4").Run())
	exit, err := child.Wait(context.Background())
	fmt.Println("reaper: exit status", exit.Status.ExitStatus(), err)
	// Output:
	// os/exec: exit status 4
	// reaper: exit status 3 <nil>
}
