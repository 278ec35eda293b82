//go:build !(linux && cgo && (amd64 || arm64))

package inherit

import (
	"context"
	"errors"
)

func compare(context.Context, []Way) ([]Report, error) { return nil, errors.ErrUnsupported }
