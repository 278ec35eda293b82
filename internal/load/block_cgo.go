//go:build unix && cgo

package load

// #cgo CFLAGS: -Wall -Wextra -Werror
// #include "block.h"
import "C"

// block blocks in C until the descriptor's other end is closed.
func block(fd int) { C.load_block(C.int(fd)) }
