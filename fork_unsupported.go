//go:build !(linux && cgo && (amd64 || arm64))

package rawfork

import (
	"errors"
	"fmt"
)

// Fork wraps fork(2) on linux/amd64 and linux/arm64 with cgo. Here it always
// returns [errors.ErrUnsupported].
func Fork() (pid int, err error) {
	return -1, fmt.Errorf("fork: %w", errors.ErrUnsupported)
}
