//go:build cgo && (amd64 || arm64)

package compare

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// times are processor times since the machine's start, in seconds.
type times struct {
	all  float64 // of all processors, idle or not
	idle float64
	own  float64 // of this process and the children that it has waited for
}

// processorTime reads the times of now. Where /proc/stat can't be read, all is 0.
func processorTime() times {
	var t times
	text, err := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if err != nil || len(fields) < 9 || fields[0] != "cpu" {
		return t
	}
	for i, field := range fields[1:9] { // the two after them are counted in the first two
		ticks, _ := strconv.ParseFloat(field, 64)
		t.all += ticks / ticksASecond
		if i == 3 || i == 4 { // idle, iowait
			t.idle += ticks / ticksASecond
		}
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		unix.Getrusage(who, &u) // no argument of it can be wrong
		t.own += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	return t
}

// ticksASecond is USER_HZ, which is 100 on every Linux that Go runs on.
const ticksASecond = 100

// others is the share of the processors' time since then that neither this process and
// its children had nor was left idle.
func (t times) others(now times) float64 {
	all := now.all - t.all
	if t.all == 0 || all <= 0 {
		return 0
	}
	return max(0, all-(now.idle-t.idle)-(now.own-t.own)) / all
}
