package main

import (
	"context"
	"fmt"
	"io"

	"rawfork/internal/text"
	"rawfork/tour"
)

// tourPrinter prints a tour as it goes on. A line that can't be written, because
// its reader has gone, interrupts the tour.
type tourPrinter struct {
	w         io.Writer
	style     text.Style
	quiet     bool // for JSON
	interrupt context.CancelCauseFunc
}

// margin is where the text begins; rows and outcomes stand to the left of it.
const margin = "     "

func (p tourPrinter) print(lines ...string) {
	if p.quiet {
		return
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(p.w, line); err != nil {
			p.interrupt(unwritten(err))
			return
		}
	}
}

func (p tourPrinter) heading(step tour.Step) {
	p.print(p.beside(step.Row, p.style.Bold, step.Title+" ("+step.Name+")", p.style.Bold)...)
	p.print(p.style.Wrap(step.Claim, margin)...)
	p.print("")
}

func (p tourPrinter) line(line tour.Line) {
	const indent = margin + "  "
	switch line.Kind {
	case tour.Say:
		p.print(p.style.Hang(line.Text, indent)...)
	case tour.Out:
		p.print(p.style.Hang("> "+line.Text, indent)...)
	case tour.Ps:
		p.print(p.style.Faint(p.style.Cut(line.Text, indent)))
	}
}

func (p tourPrinter) result(result tour.Result) {
	word, mark := "ok", p.style.Good
	switch result.Outcome {
	case tour.Fails:
		word, mark = "FAIL", p.style.Bad
	case tour.Skipped:
		word, mark = "skip", p.style.Bold
	}
	p.print(p.beside(word, mark, result.Seen, nil)...)
	p.print("")
}

// summary ends a tour of more than one step.
func (p tourPrinter) summary(results []tour.Result) {
	if len(results) < 2 {
		return
	}
	var seconds float64
	for _, result := range results {
		seconds += result.Seconds
	}
	mark, line := p.style.Good, fmt.Sprintf("%d steps of %d are as the chapter says",
		count(results, tour.Holds), len(results))
	if n := count(results, tour.Skipped); n > 0 {
		line += fmt.Sprintf(", %d skipped", n)
	}
	if n := count(results, tour.Fails); n > 0 {
		mark, line = p.style.Bad, line+fmt.Sprintf(", %d FAILED", n)
	}
	p.print(mark(line + fmt.Sprintf(" (%.1f s)", seconds)))
}

// beside sets text with a word to the left of it.
func (p tourPrinter) beside(word string, mark func(string) string, text string, markText func(string) string) []string {
	lines := p.style.Wrap(text, margin)
	for i, line := range lines {
		line = line[len(margin):]
		if markText != nil {
			line = markText(line)
		}
		left := margin
		if i == 0 {
			left = mark(word) + margin[len(word):]
		}
		lines[i] = left + line
	}
	return lines
}

func count(results []tour.Result, outcome tour.Outcome) (n int) {
	for _, result := range results {
		if result.Outcome == outcome {
			n++
		}
	}
	return n
}
