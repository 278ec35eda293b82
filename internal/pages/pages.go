//go:build unix

// Package pages makes memory that is there: what a fork has to copy page tables of.
package pages

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// InUse maps size bytes of private memory and writes to each page: small pages where
// the kernel lets itself be told, as huge ones are copied 2 MB at a time and have few
// page tables. The caller unmaps it by munmap(2).
func InUse(size int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes: %w", size, err)
	}
	small(memory)
	for i := 0; i < size; i += os.Getpagesize() {
		memory[i] = 1
	}
	return memory, nil
}
