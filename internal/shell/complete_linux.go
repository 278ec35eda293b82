//go:build amd64 || arm64

package shell

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// complete completes the word before pos as far as it is clear what is meant. When
// nothing more is, it lists what is possible.
func (s *shell) complete(line string, pos int) (newLine string, newPos int, list string) {
	before := line[:pos]
	word := strings.LastIndexAny(before, " \t") + 1
	start := max(word, strings.LastIndexByte(before, '|')+1) // constants are joined by |
	typed := before[start:]
	var possible []string
	for _, candidate := range s.candidates(strings.Fields(before[:word])) {
		if strings.HasPrefix(candidate, typed) {
			possible = append(possible, candidate)
		}
	}
	if len(possible) == 0 {
		return line, pos, ""
	}
	insert := common(possible)
	if len(possible) == 1 && !strings.HasPrefix(line[pos:], " ") {
		insert += " "
	}
	if insert == typed {
		list = strings.Join(s.style.Wrap(strings.Join(possible, " "), ""), "\n")
	}
	return line[:start] + insert + line[pos:], start + len(insert), list
}

// common is the longest beginning that all texts share.
func common(texts []string) string {
	beginning := texts[0]
	for _, text := range texts[1:] {
		for !strings.HasPrefix(text, beginning) {
			beginning = beginning[:len(beginning)-1]
		}
	}
	return beginning
}

// candidates are the words that may follow those before.
func (s *shell) candidates(before []string) []string {
	inside := false
	if len(before) >= 1 && before[0] == "parent" {
		before, inside = before[1:], true
	} else if len(before) >= 2 && before[0] == "child" {
		before, inside = before[2:], true
	}
	if len(before) == 0 {
		var names []string
		for _, c := range commands {
			if c.inside || !inside {
				names = append(names, c.name)
			}
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	c := find(before[0], inside)
	if c == nil {
		return nil
	}
	params := c.parameters()
	if len(params) == 0 {
		return nil
	}
	last := params[len(params)-1]
	if at := len(before) - 1; at < len(params) {
		last = params[at]
	} else if !last.many {
		return nil
	}
	return s.candidatesFor(last.kind)
}

// candidatesFor are the values of a parameter that have names.
func (s *shell) candidatesFor(kind string) []string {
	prefixes := map[string]string{"FLAGS": "O_ MAP_", "WHENCE": "SEEK_", "HOW": "LOCK_", "CMD": "F_", "OPTION": "PR_"}
	switch kind {
	case "CHILD":
		var numbers []string
		for i := range s.probes {
			numbers = append(numbers, fmt.Sprint(i+1))
		}
		return numbers
	case "SIGNAL":
		var names []string
		for sig := syscall.Signal(1); sig < 32; sig++ {
			names = append(names, unix.SignalName(sig))
		}
		return names
	case "ACTION":
		return actionNames
	case "NAME":
		return s.candidates(nil)
	}
	var names []string
	for _, prefix := range strings.Fields(prefixes[kind]) {
		for _, name := range slices.Sorted(maps.Keys(constants)) {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
	}
	return names
}
