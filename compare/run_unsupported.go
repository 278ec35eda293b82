//go:build !(linux && cgo && (amd64 || arm64))

package compare

import (
	"context"
	"errors"
	"fmt"

	"rawfork/helper"
)

// Init does what [helper.Init] does: there are no measuring processes here.
func Init() { helper.Init() }

// Run always returns [errors.ErrUnsupported] here.
func Run(context.Context, Options) (*Report, error) {
	return nil, fmt.Errorf("compare: fork: %w", errors.ErrUnsupported)
}
