//go:build amd64 || arm64

package shell

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/internal/ps"
	"rawfork/probe"
	"rawfork/procstate"
)

// A command is the first word of a line.
type command struct {
	name   string
	params string // "PATH [FLAGS [MODE]]": the names say what they are, see value
	help   string
	inside bool // it is done in the current process, and may follow "child N"
	run    func(s *shell, v []any) (string, error)
}

// A parameter of a command.
type parameter struct {
	kind           string
	optional, many bool
}

// parameters takes the parameters apart.
func (c *command) parameters() []parameter {
	var list []parameter
	for _, field := range strings.Fields(c.params) {
		p := parameter{kind: strings.Trim(field, "[]."), optional: strings.HasPrefix(field, "["),
			many: strings.Contains(field, "...")}
		list = append(list, p)
	}
	return list
}

// commands are in the order of help. What is there twice is a command of the shell's
// and a call of the same name.
var commands []*command

func init() { commands = slices.Concat(shellCommands, processCommands, calls) }

// find finds a command by its name: inside those that may follow "child N".
func find(name string, inside bool) *command {
	for _, c := range commands {
		if c.name == name && (c.inside || !inside) {
			return c
		}
	}
	return nil
}

var shellCommands = []*command{
	{"child", "CHILD [COMMAND...]", "run COMMAND in that child; alone: make it the current process", false, nil},
	{"parent", "[COMMAND...]", "the same for this program itself, which is the current one at first", false, nil},
	{"kill", "CHILD [SIGNAL]", "send a child a signal, SIGTERM if none is given", false, kill},
	{"wait", "CHILD", "wait for the child's end, have its parent reap it, and say how it ended", false, wait},
	{"ps", "", "this program and its children, as ps(1) shows them", false, list},
	{"diff", "[CHILD [CHILD]]", "what differs between this program, or a first child, and a child", false, diff},
	{"timeout", "DURATION", "how long a call may take, 5s at first", false, setTimeout},
	{"help", "[NAME]", "what there is, or what one of it does", false, help},
	{"quit", "", "end all children and the shell, as Ctrl-D does", false, quit},
}

func kill(s *shell, v []any) (string, error) {
	p, err := s.probeOf(v[0])
	if err != nil {
		return "", err
	}
	sig, ok := v[1].(syscall.Signal)
	if !ok {
		sig = syscall.SIGTERM
	}
	return "", p.Kill(sig)
}

// probeOf is the child of that number.
func (s *shell) probeOf(number any) (*probe.Probe, error) {
	n := number.(int)
	if n == 0 {
		return nil, errParent
	}
	return s.probes[n-1], nil
}

func wait(s *shell, v []any) (string, error) {
	p, err := s.probeOf(v[0])
	if err != nil {
		return "", err
	}
	status, err := s.await(p)
	if err != nil {
		return "", err
	}
	dead := &probe.DeadError{Pid: p.Pid(), Status: status, Known: true}
	return dead.Error(), nil
}

func list(s *shell, _ []any) (string, error) {
	var b strings.Builder
	add := func(who, line string) {
		fmt.Fprintln(&b, s.style.Cut(fmt.Sprintf("%-9s%s", who, line), ""))
	}
	add("", ps.Header)
	for who := 0; who <= len(s.probes); who++ {
		pid := os.Getpid()
		if who > 0 {
			pid = s.probes[who-1].Pid()
		}
		line, err := ps.Line(pid)
		if errors.Is(err, syscall.ESRCH) { // it was reaped
			continue
		}
		if err != nil {
			return "", err
		}
		add(name(who), line)
	}
	return b.String(), nil
}

func diff(s *shell, v []any) (string, error) {
	var numbers [2]int
	switch {
	case v[1] != nil:
		numbers = [2]int{v[0].(int), v[1].(int)}
	case v[0] != nil:
		numbers[1] = v[0].(int)
	default:
		numbers[1] = s.current
	}
	if numbers[0] == numbers[1] {
		return "", fmt.Errorf("%s is not different from itself", name(numbers[0]))
	}
	var states [2]*procstate.State
	for i, n := range numbers {
		var err error
		if states[i], err = s.state(n); err != nil {
			return "", fmt.Errorf("%s: %w", name(n), err)
		}
	}
	var lines []string
	for _, c := range procstate.Changes(states[0], states[1], procstate.Moving...) {
		lines = append(lines, s.style.Hang(c.String(), "")...)
	}
	return strings.Join(lines, "\n"), nil
}

// state is what the process is. Of this program's threads it is the one that commands run
// on, and that forks.
func (s *shell) state(who int) (*procstate.State, error) {
	if who > 0 {
		return s.probes[who-1].State()
	}
	state, err := probe.Self()
	if err != nil {
		return nil, err
	}
	for _, thread := range state.Threads {
		if thread.TID == unix.Gettid() {
			state.Blocked, state.Pending = thread.Blocked, thread.Pending
			state.Nice, state.Policy, state.RTPriority = thread.Nice, thread.Policy, thread.RTPriority
			state.Affinity = thread.Affinity
		}
	}
	return state, nil
}

func setTimeout(s *shell, v []any) (string, error) {
	s.timeout = v[0].(time.Duration)
	for _, p := range s.probes {
		p.SetTimeout(s.timeout)
	}
	return "", nil
}

func quit(s *shell, _ []any) (string, error) {
	s.quit = true
	return "", nil
}

func help(s *shell, v []any) (string, error) {
	var lines []string
	describe := func(c *command) {
		lines = append(lines, s.style.Hang(strings.TrimSpace(c.name+" "+c.params), "")...)
		lines = append(lines, s.style.Wrap(c.help, "    ")...)
	}
	if name, ok := v[0].(string); ok {
		for _, c := range commands {
			if c.name == name {
				describe(c)
			}
		}
		if lines == nil {
			return "", fmt.Errorf("%s: no such command", name)
		}
		return strings.Join(lines, "\n"), nil
	}
	for _, c := range commands[:len(commands)-len(calls)] {
		describe(c)
	}
	var names []string
	for _, c := range calls {
		names = append(names, c.name)
	}
	lines = append(lines, s.style.Wrap("Calls, made in the current process or after \"child N\": "+strings.Join(names, " ")+
		". Numbers are written as in Go, or as constants joined by |. Text with spaces stands in quotes.", "")...)
	return strings.Join(lines, "\n"), nil
}
