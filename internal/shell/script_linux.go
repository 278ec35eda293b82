//go:build amd64 || arm64

package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"rawfork/internal/text"
)

// Script runs the lines of a script, up to the first one that fails: its error names
// the line. What commands say is written to out. Children are gone afterwards, also
// when ctx ends the script: the error is its cause then.
func Script(ctx context.Context, in io.Reader, out io.Writer, style text.Style) error {
	lines := bufio.NewScanner(in)
	number := 0
	next := func() (string, error) {
		if !lines.Scan() {
			if errors.Is(lines.Err(), bufio.ErrTooLong) {
				return "", fmt.Errorf("line %d: %w", number+1, lines.Err())
			}
			if lines.Err() != nil {
				return "", lines.Err()
			}
			return "", io.EOF
		}
		number++
		return lines.Text(), nil
	}
	return newShell(out, style).run(ctx, next, func(err error) error { return fmt.Errorf("line %d: %w", number, err) })
}
