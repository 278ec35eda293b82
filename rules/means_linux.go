//go:build cgo && (amd64 || arm64)

package rules

import (
	"io"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
)

// What checks use that work with this program's own descriptors and children.

// pipe makes a pipe that is closed after the check. Reads from it end in time.
func (t *T) pipe() (r, w *os.File) {
	r, w, err := os.Pipe()
	t.Must(err)
	t.Cleanup(func() { r.Close(); w.Close() })
	t.Must(r.SetReadDeadline(time.Now().Add(timeout)))
	return r, w
}

// readAll fills b.
func (t *T) readAll(r io.Reader, b []byte) {
	_, err := io.ReadFull(r, b)
	t.Must(err)
}

// reapLater ends and reaps a child at the end of the check.
func (t *T) reapLater(pid int) {
	t.Cleanup(func() {
		unix.Kill(pid, unix.SIGKILL)
		rawfork.Wait(pid)
	})
}

// severalThreads has this program run at least two threads from now on.
func (t *T) severalThreads() {
	begun, end := make(chan bool), make(chan bool)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		begun <- true
		<-end
	}()
	<-begun
	t.Cleanup(func() { close(end) })
}

// bytesOf is the memory of *p, for a V without pointers.
func bytesOf[V any](p *V) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}
