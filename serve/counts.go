package serve

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
)

// Counts is what a Server has counted since its start.
type Counts struct {
	Accepted    int // connections that were accepted, those refused among them
	Active      int // children that have not been reaped
	Refused     int // connections closed at once, for want of a free child
	Dropped     int // connections closed since no child could be made
	FailedForks int // attempts to make a child that failed, most of them made again
	Terminated  int // children that were sent SIGTERM, for a deadline or a shutdown

	// Exits counts the children that were reaped by how they ended.
	Exits map[syscall.WaitStatus]int
}

// Served is how many children were reaped.
func (c Counts) Served() int {
	n := 0
	for _, count := range c.Exits {
		n += count
	}
	return n
}

// String puts the counts into one line.
func (c Counts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "accepted %d, active %d, refused %d, dropped %d, failed forks %d, terminated %d",
		c.Accepted, c.Active, c.Refused, c.Dropped, c.FailedForks, c.Terminated)
	writeExits(&b, c.Exits)
	return b.String()
}

// describe puts a status into words.
func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + status.Signal().String()
	}
	return fmt.Sprintf("exit %d", status.ExitStatus())
}

// writeExits writes how many ended how.
func writeExits(b *strings.Builder, exits map[syscall.WaitStatus]int) {
	names := map[string]int{}
	for status, count := range exits {
		names[describe(status)] += count
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(b, ", %s %d", name, names[name])
	}
}
