//go:build !unix

package load

import (
	"errors"
	"sync"
)

func blockedCalls(*sync.WaitGroup, <-chan struct{}) error { return errors.ErrUnsupported }
