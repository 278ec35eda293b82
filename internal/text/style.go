// Package text sets what the command says: colours where they are wanted, and
// lines that fit a terminal.
package text

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Style is how text is set. The zero value is plain and doesn't wrap.
type Style struct {
	Colour bool
	Width  int // columns; 0 for no limit
}

// Bold marks a text, which must not hold a line break, as a heading.
func (s Style) Bold(text string) string { return s.mark("1", text) }

// Faint marks a text as less important.
func (s Style) Faint(text string) string { return s.mark("2", text) }

// Good marks a text as what was to be.
func (s Style) Good(text string) string { return s.mark("32", text) }

// Bad marks a text as what was not to be.
func (s Style) Bad(text string) string { return s.mark("1;31", text) }

func (s Style) mark(code, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// minimum is the least room for text on a line: on a terminal that leaves less,
// the text runs over.
const minimum = 16

// Wrap breaks text at spaces into lines that fit the width behind the indent. A
// word that is longer than a line stays whole. All spaces count as one.
func (s Style) Wrap(text, indent string) []string {
	return s.wrap(strings.Fields(text), indent, indent)
}

// Hang is Wrap for a line with columns: its spaces stay as they are, and what
// doesn't fit goes below, indented further. A line that fits is not changed.
func (s Style) Hang(line, indent string) []string {
	line = strings.TrimRight(line, " ")
	if s.Width == 0 || columns(indent)+columns(line) <= s.Width {
		return []string{indent + line}
	}
	lead := line[:len(line)-len(strings.TrimLeft(line, " "))]
	return s.wrap(strings.Fields(line), indent+lead, indent+lead+"  ")
}

// Cut sets a line of a table behind the indent and cuts it off at the width, as
// ps(1) does: its columns stay where they are.
func (s Style) Cut(line, indent string) string {
	room := s.Width - columns(indent)
	if s.Width == 0 || columns(line) <= room {
		return indent + line
	}
	return indent + strings.TrimRight(string([]rune(line)[:max(room, minimum)]), " ")
}

func (s Style) wrap(words []string, first, rest string) []string {
	var lines []string
	line, room := first, s.Width
	if room > 0 {
		room = max(room, columns(rest)+minimum)
	}
	empty := true
	for _, word := range words {
		if !empty && room > 0 && columns(line)+1+columns(word) > room {
			lines = append(lines, line)
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	return append(lines, line)
}

// Printable is text of a user's without what would move a terminal's cursor or colour it:
// each character that isn't printable, and each byte that is none, stands as in a string of
// Go, such as \x1b.
func Printable(text string) string {
	var b strings.Builder
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		if strconv.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(text[:size])
		} else {
			b.WriteString(strings.Trim(strconv.Quote(text[:size]), `"`))
		}
		text = text[size:]
	}
	return b.String()
}

// columns counts runes: nothing here is written wider than one column.
func columns(s string) int { return len([]rune(s)) }
