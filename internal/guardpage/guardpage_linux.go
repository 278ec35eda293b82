package guardpage

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Copy copies b to the end of memory that is followed by a page that can't be read.
func Copy(t testing.TB, b []byte) (copied []byte, free func()) {
	t.Helper()
	page := unix.Getpagesize()
	size := (len(b)+page-1)/page*page + page
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mprotect(memory[size-page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	copied = memory[size-page-len(b) : size-page]
	copy(copied, b)
	return copied, func() { unix.Munmap(memory) }
}
