//go:build unix && !linux

package turn

import "errors"

// AwaitEnd needs a fork to wait for.
func AwaitEnd(int) error { return errors.ErrUnsupported }
