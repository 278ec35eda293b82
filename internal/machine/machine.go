// Package machine says what figures of speed depend on.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A Machine is what a measurement ran on, and when. What can't be found out is
// "unknown".
type Machine struct {
	Date       string `json:"date"`
	Processor  string `json:"processor"`
	Processors int    `json:"processors"` // that this process may use
	Memory     string `json:"memory"`
	Kernel     string `json:"kernel"`
	HugePages  string `json:"huge_pages"` // of /sys/kernel/mm/transparent_hugepage/enabled
	Go         string `json:"go"`
	Load       string `json:"load"` // load averages, at the time of the look
}

// Look describes this machine as it is now.
func Look() Machine {
	return Machine{
		Date:       time.Now().UTC().Format("2006-01-02"),
		Processor:  field("/proc/cpuinfo", "model name"),
		Processors: runtime.NumCPU(),
		Memory:     field("/proc/meminfo", "MemTotal"),
		Kernel:     first("/proc/sys/kernel/osrelease"),
		HugePages:  first("/sys/kernel/mm/transparent_hugepage/enabled"),
		Go:         runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Load:       Load(),
	}
}

// Lines describes the machine, one property a line.
func (m Machine) Lines() []string {
	return []string{
		"date:          " + m.Date,
		fmt.Sprintf("processor:     %s × %d", m.Processor, m.Processors),
		"memory:        " + m.Memory,
		"kernel:        " + m.Kernel,
		"huge pages:    " + m.HugePages,
		"go:            " + m.Go,
		"load at start: " + m.Load,
	}
}

// Load returns the load averages of now.
func Load() string {
	fields := strings.Fields(first("/proc/loadavg"))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// first is the first line of a file of /proc or /sys.
func first(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// field is the first value of a key in a file of "key: value" lines.
func field(name, key string) string {
	text, _ := os.ReadFile(name)
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
