//go:build cgo && (amd64 || arm64)

package compare

import (
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"rawfork/procstate"
)

// The signals that the describing process blocks and ignores, so that there is something
// to inherit.
const (
	blockedSignal = unix.SIGWINCH
	ignoredSignal = unix.SIGUSR2
)

// describe has each method make a process that waits, and reads what it is.
func (p *process) describe(methods []string) (sides []Side, err error) {
	runtime.LockOSThread() // the mask is the thread's; this goroutine's process ends soon
	var set unix.Sigset_t
	set.Val[0] = 1 << (blockedSignal - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		return nil, os.NewSyscallError("rt_sigprocmask", err)
	}
	signal.Ignore(ignoredSignal)
	if err := unix.Dup3(int(p.null.Fd()), leakedFD, 0); err != nil {
		return nil, os.NewSyscallError("dup3", err)
	}
	var reference *procstate.State
	for _, m := range methods {
		pid, err := p.hold(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		state, err := procstate.Read(pid)
		if err == nil {
			err = p.release(pid)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		if reference == nil {
			reference = state
		}
		sides = append(sides, side(m, state, reference))
	}
	return sides, nil
}

// side describes the state of a process, and says what differs from the reference.
func side(method string, state, reference *procstate.State) Side {
	s := Side{Method: method, Values: ownWords(state), Differs: []string{}}
	words := ownWords(reference)
	for _, field := range slices.Sorted(maps.Keys(s.Values)) {
		if s.Values[field] != words[field] {
			s.Differs = append(s.Differs, field)
		}
	}
	// The rest in the words of package procstate: what moves by itself is left out, and
	// what has a word of its own above.
	ignore := append([]string{"PPID", "Name", "Exe", "Argv", "Descriptors", "Locks", "Blocked", "Ignored", "Caught", "Pending", "Autogroup", "CoredumpFilter"},
		append(procstate.Moving, procstate.Identity...)...)
	for _, c := range procstate.Compare(reference, state, ignore...) {
		if strings.HasPrefix(c.Field, "Env[") {
			continue // /proc has that of the last exec, or what the process wrote over it
		}
		s.Values[c.Field] = c.B
		if c.B == "" {
			s.Values[c.Field] = "nothing"
		}
		if c.Kind != procstate.Kept {
			s.Differs = append(s.Differs, c.Field)
		}
	}
	return s
}

// ownWords are the fields of a state that people ask for first, in a few words each.
func ownWords(s *procstate.State) map[string]string {
	parent := "the caller"
	if s.PPID != unix.Getpid() {
		parent = fmt.Sprintf("process %d", s.PPID)
	}
	program := "the program"
	if self, err := procstate.ReadParts(unix.Getpid(), 0); err == nil && self.Exe == s.Exe {
		program = "the caller's"
	}
	threads := "one"
	if len(s.Threads) > 1 {
		threads = "several"
	}
	caught := "none"
	if n := len(s.Caught.Names()); n > 2 {
		caught = fmt.Sprintf("%d signals", n)
	} else if n > 0 {
		caught = s.Caught.String()
	}
	return map[string]string{
		"Parent":               parent,
		"Program":              program,
		"Threads":              threads,
		"Descriptors":          numbers(slices.Sorted(maps.Keys(s.Descriptors))),
		"Signals blocked":      s.Blocked.String(),
		"Signals ignored":      s.Ignored.String(),
		"Signals caught":       caught,
		"Shared until written": sharedWords(s),
	}
}

// sharedWords tell how much memory that is no file's the process shares with the one
// that it is a copy of.
func sharedWords(s *procstate.State) string {
	var sum uint64
	for _, m := range s.Maps {
		if m.Inode == 0 {
			sum += m.SharedClean + m.SharedDirty
		}
	}
	if sum == 0 {
		return "nothing"
	}
	return bytesText(float64(sum))
}

// numbers writes ascending numbers as 0-3, 7.
func numbers(list []int) string {
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		part := fmt.Sprint(list[i])
		if j > i {
			part += fmt.Sprintf("-%d", list[j])
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, ", ")
}
