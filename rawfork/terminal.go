package main

import (
	"os"
	"strconv"

	"golang.org/x/term"

	"rawfork/internal/text"
)

// lineLength is how long a line of text gets: more is hard to read.
const lineLength = 80

// styleOf sets text for file: in colours only on a terminal, unless NO_COLOR is
// set (see no-color.org), and in lines that fit it. COLUMNS overrides the
// terminal's own width.
func styleOf(file *os.File) text.Style {
	style := text.Style{Width: lineLength}
	fd := int(file.Fd())
	if term.IsTerminal(fd) {
		style.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(fd); err == nil && width > 0 {
			style.Width = min(width, lineLength)
		}
	}
	if width, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && width > 0 {
		style.Width = min(width, lineLength)
	}
	return style
}
