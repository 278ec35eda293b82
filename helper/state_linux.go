//go:build cgo && (amd64 || arm64)

package helper

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"rawfork/internal/plan"
)

// A child of syscall.ForkExec inherits from the thread that called it, a child of
// the helper from the helper. What may have changed since the helper's start is
// therefore looked at in each call of ForkExec: some of it travels with the request,
// and for the rest a difference is an error.

// state is what can't travel: the values of stateNames, as text.
type state [len(stateNames)]string

// stateNames are what an error calls the parts of a state. First those that stand in
// /proc/PID/status, under these names.
var stateNames = [...]string{
	"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
	"NoNewPrivs", "Seccomp", "Seccomp_filters", "Speculation_Store_Bypass",
	"SpeculationIndirectBranch", "Cpus_allowed", "Mems_allowed",
	"session", "terminal", "nice", "real-time priority", "scheduling policy",
	"cgroup", "root directory",
	"cgroup namespace", "ipc namespace", "mnt namespace", "net namespace", "pid namespace of children",
	"time namespace of children", "user namespace", "uts namespace",
}

// Where the parts begin that aren't of the status file.
const (
	statNames  = 15
	cgroupName = statNames + len(statFields)
)

// statFields are the numbers of the fields of /proc/PID/stat, as in proc(5).
var statFields = [...]int{6, 7, 19, 40, 41}

var stateIndex = func() map[string]int {
	index := map[string]int{}
	for i, name := range stateNames[:statNames] {
		index[name] = i
	}
	return index
}()

// caller is what travels with a request.
type caller struct {
	umask         uint32
	mask, ignored uint64 // signals
	pgid          int
	limitsText    string // of /proc/PID/limits
	limits        allLimits
	dir           int // O_PATH, the receiver's to close; -1 where it is the helper's
}

// stateOf returns the state of a process, or of the calling thread for 0, and of what
// travels the parts that stand in the same files.
func stateOf(pid int) (s state, c caller, err error) {
	text := make([]byte, 8192)
	n, err := readState(pid, text)
	for err == syscall.ERANGE { // tens of thousands of groups
		text = make([]byte, 4*len(text))
		n, err = readState(pid, text)
	}
	if err != nil {
		return s, c, fmt.Errorf("read the state of process %d: %w", pid, err)
	}
	parts := strings.Split(string(text[:n]), "\x00")
	status, stat, rest := parts[0], parts[1], parts[3:]
	c.limitsText = parts[2]
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "Umask":
			umask, _ := strconv.ParseUint(value, 8, 32)
			c.umask = uint32(umask)
		case "SigBlk":
			c.mask, _ = strconv.ParseUint(value, 16, 64)
		case "SigIgn":
			c.ignored, _ = strconv.ParseUint(value, 16, 64)
		default:
			if i, ok := stateIndex[name]; ok {
				s[i] = value
			}
		}
	}
	// Field 2, the name, ends at the last parenthesis, whatever is in it.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	for i, number := range statFields {
		s[statNames+i] = fields[number-3]
	}
	c.pgid, _ = strconv.Atoi(fields[5-3])
	copy(s[cgroupName:], rest[:2+nsFiles])
	return s, c, nil
}

// remember notes what the helper's children inherit from it.
func (h *Helper) remember() error {
	s, c, err := stateOf(h.pid)
	if err != nil {
		return err
	}
	h.state.Store(&s)
	h.limitsText = c.limitsText
	if h.limits, err = readLimits(h.pid); err != nil {
		return os.NewSyscallError("prlimit", err)
	}
	return nil
}

// errChanged is an attribute of the caller that its helper hasn't got.
var errChanged = fmt.Errorf("not as it was at helper.Start: %w", errors.ErrUnsupported)

// caller looks at the calling thread. An [*plan.Error] names what is different from
// the helper and can't travel. What has changed for both, as by a cgroup that both are
// in, is no difference.
func (h *Helper) caller() (caller, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now, c, err := stateOf(0)
	if err != nil {
		return c, err
	}
	if now != *h.state.Load() {
		theirs, _, err := stateOf(h.pid)
		for i, name := range stateNames {
			if now[i] != theirs[i] {
				return c, &plan.Error{Step: name, Err: errChanged}
			}
		}
		if err != nil {
			return c, err
		}
		h.state.Store(&theirs)
	}
	c.limits = h.limits
	if c.limitsText != h.limitsText {
		if c.limits, err = readLimits(0); err != nil {
			return c, os.NewSyscallError("prlimit", err)
		}
	}
	c.dir, err = h.changedDir()
	return c, err
}
