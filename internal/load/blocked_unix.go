//go:build unix

package load

import (
	"os"
	"sync"
)

// blockedCalls keeps calls blocked that read a pipe which nobody writes to: by
// cgo, or by system calls in a build without it.
func blockedCalls(group *sync.WaitGroup, quit <-chan struct{}) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	fd := int(r.Fd()) // and with that, blocking
	var reads sync.WaitGroup
	for range blocked {
		reads.Go(func() { block(fd) })
	}
	group.Go(func() {
		<-quit
		w.Close()
		reads.Wait()
		r.Close()
	})
	return allocate(group, quit)
}
