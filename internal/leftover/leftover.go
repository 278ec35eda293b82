// Package leftover tells what this process holds that somebody has to give back:
// descriptors and children. Where there is no /proc it sees none.
package leftover

import (
	"fmt"
	"os"
	"strings"
)

// Descriptors are the open descriptors, by number, each with what it refers to. Those
// that the Go runtime makes for itself, for its poller, are left out.
func Descriptors() map[string]string {
	open := map[string]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil { // the descriptor of this very listing
			continue
		}
		if target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			continue
		}
		open[e.Name()] = target
	}
	return open
}

// Children are the children of this process, dead or alive, by pid, each with its
// name and the letter of its state.
func Children() map[string]string {
	found := map[string]string{}
	self := fmt.Sprint(os.Getpid())
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		begin, end := strings.IndexByte(string(stat), '('), strings.LastIndexByte(string(stat), ')')
		if begin < 0 || end < begin { // none of a process
			continue
		}
		fields := strings.Fields(string(stat)[end+1:])
		if len(fields) > 1 && fields[1] == self {
			found[e.Name()] = fmt.Sprintf("%s, state %s", stat[begin:end+1], fields[0])
		}
	}
	return found
}
