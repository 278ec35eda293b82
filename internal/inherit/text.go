package inherit

import (
	"fmt"
	"slices"
	"strings"

	"rawfork/internal/text"
)

// Lines is a report for a person: one field after the other, with its values.
func (r Report) Lines(style text.Style) []string {
	lines := []string{style.Bold(r.Name + ": " + r.Title)}
	for _, row := range rows([]Report{r}) {
		const indent = 10
		word, hung := row.words[0], style.Hang(row.text, strings.Repeat(" ", indent))
		hung[0] = "  " + word.mark(style)(fmt.Sprintf("%-*s", indent-2, word)) + hung[0][indent:]
		lines = append(lines, hung...)
	}
	return lines
}

// Table sets the words of all reports side by side, one line a field, "-" where a report
// hasn't got it. At a limited width long names are cut; where the columns have no room,
// it puts them into words.
func Table(reports []Report, style text.Style) []string {
	const column = 9
	list, left := rows(reports), 0
	for _, row := range list {
		left = max(left, len([]rune(row.name))+1)
	}
	if style.Width > 0 {
		left = min(left, 26)
		if left+column*len(reports) > style.Width {
			return inWords(list, reports, style)
		}
	}
	heading := fmt.Sprintf("%-*s", left, "")
	for _, r := range reports {
		heading += fmt.Sprintf("%-*s", column, r.Name)
	}
	lines := []string{style.Bold(strings.TrimRight(heading, " "))}
	for _, row := range list {
		name := row.name
		if runes := []rune(name); len(runes) >= left {
			name = string(runes[:left-2]) + "…"
		}
		line := name + strings.Repeat(" ", left-len([]rune(name)))
		for i, word := range row.words {
			if word == "" {
				word = none
			}
			padding := strings.Repeat(" ", column-len(word))
			if i == len(row.words)-1 {
				padding = ""
			}
			line += word.mark(style)(string(word)) + padding
		}
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
}

// none stands in a table for a field that a report hasn't got.
const none Word = "-"

// inWords is a table for a narrow terminal.
func inWords(list []row, reports []Report, style text.Style) []string {
	var lines []string
	for _, row := range list {
		var parts []string
		for _, word := range []Word{Kept, Reset, New, Gone, Unknown} {
			var ways []string
			for i, w := range row.words {
				if w == word {
					ways = append(ways, reports[i].Name)
				}
			}
			switch len(ways) {
			case 0:
			case len(reports):
				parts = append(parts, string(word))
			default:
				parts = append(parts, string(word)+" by "+strings.Join(ways, ", "))
			}
		}
		lines = append(lines, style.Hang(row.name+": "+strings.Join(parts, "; "), "")...)
	}
	return lines
}

func (w Word) mark(style text.Style) func(string) string {
	switch w {
	case Kept, none:
		return style.Faint
	case Gone:
		return style.Bad
	case New:
		return style.Good
	}
	return style.Bold
}

// A row is a field, or all fields of a kind that every way kept.
type row struct {
	name  string
	text  string // of the first report that has it
	words []Word // by report, "" where it has none
}

// rows puts the fields of all reports below each other. Of a kind that has many,
// such as Env, those that some way didn't keep stand by themselves.
func rows(reports []Report) []row {
	lost := map[string]bool{}
	for _, r := range reports {
		for _, f := range r.Fields {
			lost[f.Name] = lost[f.Name] || f.Word != Kept
		}
	}
	var list []row
	for i, r := range reports {
		for _, f := range r.Fields {
			name := f.Name
			if !lost[name] {
				name = kind(name)
			}
			at := slices.IndexFunc(list, func(row row) bool { return row.name == name })
			if at < 0 {
				at = place(list, kind(name))
				list = slices.Insert(list, at, row{name: name, text: r.text(name, f, lost), words: make([]Word, len(reports))})
			}
			list[at].words[i] = f.Word
		}
	}
	return list
}

// kind is a field's name up to a bracket or dot.
func kind(name string) string {
	if at := strings.IndexAny(name, "[."); at >= 0 {
		return name[:at]
	}
	return name
}

// place is where the next row of a kind belongs: behind the last one, or at the end.
func place(list []row, of string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if kind(list[i].name) == of {
			return i + 1
		}
	}
	return len(list)
}

// text is the line of a row: the field's, or how many fields it stands for.
func (r Report) text(name string, f Field, lost map[string]bool) string {
	if name == f.Name {
		return f.String()
	}
	n := 0
	for _, g := range r.Fields {
		if kind(g.Name) == name && g.Name != name && !lost[g.Name] {
			n++
		}
	}
	return fmt.Sprintf("%s: %d of them", name, n)
}
