//go:build !(linux && (amd64 || arm64))

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"rawfork/internal/text"
)

var errUnsupported = fmt.Errorf("fork: %w", errors.ErrUnsupported)

// Script runs the lines of a script, where there is a fork.
func Script(context.Context, io.Reader, io.Writer, text.Style) error { return errUnsupported }

// Interact runs what is typed at a terminal, where there is a fork.
func Interact(context.Context, *os.File, *os.File, text.Style) error { return errUnsupported }
