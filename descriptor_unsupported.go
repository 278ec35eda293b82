//go:build !linux

package rawfork

import "errors"

// checkOpen has no descriptors to check where there is no fork.
func checkOpen(int) error { return errors.ErrUnsupported }
