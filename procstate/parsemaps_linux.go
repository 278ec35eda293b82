package procstate

import (
	"fmt"
	"strconv"
	"strings"
)

// parseMaps reads smaps: for each mapping its line of maps, then one "Key: value"
// a line. Keys begin with a capital letter, addresses never do.
func parseMaps(text []byte) ([]Map, error) {
	var maps []Map
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		var err error
		if line == "" || line[0] < 'A' || line[0] > 'Z' {
			var m Map
			m, err = parseMap(line)
			maps = append(maps, m)
		} else if len(maps) == 0 {
			err = fmt.Errorf("of no mapping")
		} else {
			err = maps[len(maps)-1].set(line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	return maps, nil
}

// parseMap reads a line of maps. The name is the rest behind a run of spaces, with
// each newline written as \012. The kernel doesn't escape a backslash, so a name
// that holds those four characters itself reads as a newline.
func parseMap(line string) (m Map, err error) {
	var words [5]string
	rest := line
	for i := range words {
		words[i], rest, _ = strings.Cut(rest, " ")
	}
	start, end, _ := strings.Cut(words[0], "-")
	if m.Start, err = strconv.ParseUint(start, 16, 64); err != nil {
		return Map{}, err
	}
	if m.End, err = strconv.ParseUint(end, 16, 64); err != nil {
		return Map{}, err
	}
	if m.Perms = words[1]; len(m.Perms) != 4 {
		return Map{}, fmt.Errorf("permissions %q", m.Perms)
	}
	if m.Offset, err = strconv.ParseUint(words[2], 16, 64); err != nil {
		return Map{}, err
	}
	if m.Major, m.Minor, err = parseDevice(words[3]); err != nil {
		return Map{}, err
	}
	if m.Inode, err = strconv.ParseUint(words[4], 10, 64); err != nil {
		return Map{}, err
	}
	m.Name = strings.ReplaceAll(strings.TrimLeft(rest, " "), `\012`, "\n")
	return m, nil
}

// set takes over one line of a mapping's figures.
func (m *Map) set(line string) error {
	key, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("no value")
	}
	if key == "VmFlags" {
		m.VmFlags = strings.Fields(value)
		return nil
	}
	to := m.figure(key)
	if to == nil {
		return nil
	}
	kilobytes, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(value, " kB")), 10, 54)
	*to = kilobytes << 10
	return err
}

// figure finds the field of a key in smaps, nil for one that isn't kept.
func (m *Map) figure(key string) *uint64 {
	switch key {
	case "Rss":
		return &m.Rss
	case "Pss":
		return &m.Pss
	case "Shared_Clean":
		return &m.SharedClean
	case "Shared_Dirty":
		return &m.SharedDirty
	case "Private_Clean":
		return &m.PrivateClean
	case "Private_Dirty":
		return &m.PrivateDirty
	case "Anonymous":
		return &m.Anonymous
	case "AnonHugePages":
		return &m.AnonHugePages
	case "Swap":
		return &m.Swap
	case "Locked":
		return &m.Locked
	}
	return nil
}
