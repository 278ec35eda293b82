package pages

import "golang.org/x/sys/unix"

// small asks for small pages. EINVAL is of a kernel that has no others.
func small(memory []byte) { _ = unix.Madvise(memory, unix.MADV_NOHUGEPAGE) }
