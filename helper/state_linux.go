//go:build cgo && (amd64 || arm64)

package helper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// What of the status file travels.
const (
	umaskLine = -1 - iota
	maskLine
	ignoredLine
)

// statusIndex tells of a line of the status file which part of a state it is.
var statusIndex = func() map[string]int {
	index := map[string]int{"Umask": umaskLine, "SigBlk": maskLine, "SigIgn": ignoredLine}
	for i, name := range stateNames[:statNames] {
		index[name] = i
	}
	return index
}()

// caller is what travels with a request.
type caller struct {
	umask         uint32
	mask, ignored uint64 // signals
	limitsText    string // of /proc/PID/limits
	limits        allLimits
	dir           int // O_PATH, the receiver's to close; -1 where it is the helper's
}

// A look is what was last seen of a process: the parts of its files that count, and what
// they say. Most calls see the same again, and need not take it apart.
type look struct {
	text   string
	state  state
	caller caller
}

// texts are buffers for the files of a process.
var texts = sync.Pool{New: func() any { return new([2 * 8192]byte) }}

// see looks at a process, or at the calling thread for 0. before may be nil.
func see(pid int, before *look) (*look, error) {
	buffer := texts.Get().(*[2 * 8192]byte)
	defer texts.Put(buffer)
	text, counts := buffer[:8192], buffer[8192:8192]
	n, err := readState(pid, text)
	for err == syscall.ERANGE { // tens of thousands of groups
		text = make([]byte, 4*len(text))
		n, err = readState(pid, text)
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of process %d: %w", pid, err)
	}
	counts = whatCounts(counts, text[:n])
	if before != nil && before.text == string(counts) {
		return before, nil
	}
	return parseLook(string(counts)), nil
}

// whatCounts appends to counts what of the text of readState can be inherited: lines of
// the status file, fields of the stat file, and all of the rest.
func whatCounts(counts, text []byte) []byte {
	status, rest, _ := bytes.Cut(text, []byte{0})
	for len(status) > 0 {
		line, others, _ := bytes.Cut(status, []byte{'\n'})
		status = others
		name, _, _ := bytes.Cut(line, []byte{':'})
		if _, ok := statusIndex[string(name)]; ok {
			counts = append(append(counts, line...), '\n')
		}
	}
	stat, rest, _ := bytes.Cut(rest, []byte{0})
	// Field 2, the name, ends at the last parenthesis, whatever is in it.
	stat = stat[bytes.LastIndexByte(stat, ')')+1:]
	for number := 3; number <= statFields[len(statFields)-1]; number++ {
		stat = bytes.TrimLeft(stat, " ")
		field, others, _ := bytes.Cut(stat, []byte{' '})
		stat = others
		if slices.Contains(statFields[:], number) {
			counts = append(append(counts, 0), field...)
		}
	}
	return append(append(counts, 0), rest...)
}

// parseLook takes apart what whatCounts has put together.
func parseLook(text string) *look {
	l := &look{text: text}
	parts := strings.Split(text, "\x00")
	status, stat, rest := parts[0], parts[1:1+len(statFields)], parts[1+len(statFields):]
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch i := statusIndex[name]; i {
		case umaskLine:
			umask, _ := strconv.ParseUint(value, 8, 32)
			l.caller.umask = uint32(umask)
		case maskLine:
			l.caller.mask, _ = strconv.ParseUint(value, 16, 64)
		case ignoredLine:
			l.caller.ignored, _ = strconv.ParseUint(value, 16, 64)
		default:
			l.state[i] = value
		}
	}
	copy(l.state[statNames:cgroupName], stat)
	l.caller.limitsText = rest[0]
	copy(l.state[cgroupName:], rest[1:3+nsFiles])
	return l
}

// remember notes what the helper's children inherit from it.
func (h *Helper) remember() error {
	l, err := see(h.pid, nil)
	if err != nil {
		return err
	}
	h.state.Store(&l.state)
	h.limitsText = l.caller.limitsText
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
	now, err := see(0, h.seen.Load())
	if err != nil {
		return caller{}, err
	}
	h.seen.Store(now)
	if now.state != *h.state.Load() {
		theirs, err := see(h.pid, nil)
		if ended := h.Err(); ended != nil {
			err = ended
		}
		if err != nil {
			return caller{}, err
		}
		for i, name := range stateNames {
			if now.state[i] != theirs.state[i] {
				return caller{}, &plan.Error{Step: name, Err: errChanged}
			}
		}
		h.state.Store(&theirs.state)
	}
	c := now.caller
	c.limits = h.limits
	if c.limitsText != h.limitsText {
		if c.limits, err = readLimits(0); err != nil {
			return c, os.NewSyscallError("prlimit", err)
		}
	}
	c.dir, err = h.changedDir()
	return c, err
}
