package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"rawfork/internal/text"
)

// progress says on a terminal's last line what is under way. Elsewhere it says nothing.
type progress struct {
	w     io.Writer // nil for nothing
	style text.Style
}

// progressOn is progress on file, unless quiet.
func progressOn(file *os.File, style text.Style, quiet bool) progress {
	if quiet || !term.IsTerminal(int(file.Fd())) {
		return progress{}
	}
	return progress{file, style}
}

// show says that step i of n, counted from 0, is what.
func (p progress) show(what string, i, n int) {
	if p.w != nil {
		line := p.style.Cut(fmt.Sprintf("[%*d/%d] %s", len(fmt.Sprint(n)), i+1, n, what), "")
		fmt.Fprint(p.w, "\r\x1b[K"+p.style.Faint(line))
	}
}

// clear takes the line away.
func (p progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
