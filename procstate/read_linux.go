package procstate

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Read reads the state of process pid from proc(5). What can't be read of it is
// told by the State's Missing and is no failure.
//
// A process that doesn't exist, or whose parent reaped it meanwhile, is an error
// that is both [os.ErrProcessDone] and ESRCH; so is a pid that is a thread's, which
// is ESRCH only. A pid of 0 or less is EINVAL. A zombie is no error: it still has its
// ids, and Run is "Z".
func Read(pid int) (*State, error) { return ReadParts(pid, All) }

// Self reads the state of this process from proc(5). The descriptors that it
// reads with are left out. In a Go program the thread group leader, whose mask
// and scheduling a State has on the top level, is any thread to a goroutine.
func Self() (*State, error) {
	return read("self", 0, All)
}

// ReadParts reads the state of process pid as [Read] does, but of its larger
// parts only those that are asked for, with the same errors. The others are missing by
// [ErrLeftOut].
func ReadParts(pid int, parts Parts) (*State, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("procstate: read %d: %w", pid, unix.EINVAL)
	}
	return read(strconv.Itoa(pid), pid, parts)
}

// A reader fills some fields of a State.
type reader struct {
	part   Parts // that it belongs to; 0 is always read
	needs  need
	fields []string
	read   func(*process, *State) error
}

// A need is what a process must have for a reader to be of use.
type need int

const (
	nothing   need = iota
	resources      // directories, descriptors: a zombie has given them back
	memory         // of its own: a kernel thread has none either
)

var readers = []reader{
	{fields: []string{"ExitSignal"}, read: (*process).exitSignal},
	{fields: []string{"Name"}, read: (*process).comm},
	{fields: []string{"Dumpable"}, needs: memory, read: (*process).dumpable},
	{fields: []string{"LoginUID"}, read: (*process).loginUID},
	{fields: []string{"AuditSession"}, read: (*process).auditSession},
	{fields: []string{"Personality"}, read: (*process).personality},
	{fields: []string{"Cwd"}, needs: resources, read: (*process).cwd},
	{fields: []string{"Root"}, needs: resources, read: (*process).root},
	{fields: []string{"Exe"}, needs: memory, read: (*process).exe},
	{fields: []string{"Argv"}, needs: memory, read: (*process).argv},
	{fields: []string{"Env"}, needs: memory, read: (*process).env},
	{fields: []string{"Limits"}, read: (*process).limits},
	{fields: []string{"TimerSlack"}, read: (*process).timerSlack},
	{fields: []string{"OOMScoreAdj"}, read: (*process).oomScoreAdj},
	{fields: []string{"Autogroup", "AutogroupNice"}, read: (*process).autogroup},
	{fields: []string{"CoredumpFilter"}, needs: memory, read: (*process).coredumpFilter},
	{fields: []string{"Namespaces"}, needs: resources, read: (*process).namespaces},
	{fields: []string{"Cgroups"}, read: (*process).cgroups},
	{fields: []string{"Timers"}, needs: resources, read: (*process).timers},
	{part: Descriptors, fields: []string{"Descriptors"}, needs: resources, read: (*process).descriptors},
	{part: Descriptors, fields: []string{"Locks"}, needs: resources, read: (*process).locks},
	{part: Threads, fields: []string{"Threads"}, read: (*process).threads},
	{part: Totals, fields: []string{"Memory"}, needs: memory, read: (*process).memory},
	{part: Maps, fields: []string{"Maps"}, needs: memory, read: (*process).maps},
}

// read reads a process by the name of its directory, which the errors call it too.
// pid is 0 for this process.
func read(name string, pid int, parts Parts) (*State, error) {
	p, err := openProcess(name)
	if err != nil {
		return nil, openError(name, pid, err)
	}
	defer p.close()

	s := &State{Missing: Missing{}}
	if err := p.identify(s, pid); err != nil {
		return nil, processError(name, err)
	}
	for _, r := range readers {
		if err := r.try(p, s, parts); err != nil {
			s.miss(err, r.fields...)
		}
	}
	if err := p.confirm(s); err != nil {
		return nil, processError(name, err)
	}
	return s, nil
}

func processError(name string, err error) error {
	if gone(err) && !errors.Is(err, errThread) {
		err = errGone
	}
	return fmt.Errorf("procstate: read %s: %w", name, err)
}

func (r reader) try(p *process, s *State, parts Parts) error {
	if r.part&^parts != 0 {
		return ErrLeftOut
	}
	if err := r.lacks(s); err != nil {
		return err
	}
	return r.read(p, s)
}

// lacks says why the process doesn't have what the reader needs.
func (r reader) lacks(s *State) error {
	switch {
	case r.needs == memory && s.Kernel:
		return ErrKernelThread
	case r.needs >= resources && s.Ended:
		return errEnded
	}
	return nil
}

func (s *State) miss(err error, fields ...string) {
	for _, field := range fields {
		s.Missing[field] = err
	}
}

// identify finds out who the process is and what stat and status say.
func (p *process) identify(s *State, pid int) error {
	text, err := p.read("status", maxText)
	if err != nil {
		return err
	}
	status := parseStatus(text)
	if s.PID, err = status.number("Pid"); err != nil {
		return err
	}
	switch group, err := status.number("Tgid"); {
	case err != nil:
		return err
	case group == 0: // its parent reaped it while the kernel wrote the text
		return errGone
	case group != s.PID:
		return fmt.Errorf("a thread of process %d: %w", group, errThread)
	}
	if self, err := os.Readlink("/proc/self"); err == nil {
		p.self = self == strconv.Itoa(s.PID)
	}
	if p.fs, err = procfs.NewProc(s.PID); err != nil {
		return err
	}
	if err := p.stat(s); err != nil {
		return err
	}
	return p.status(s, status)
}

// confirm makes sure that the directory is still that of a process. A pid is not
// given away while its process exists, so all that was read by path is of the
// same one. What was read of a process that ended meanwhile may have been read
// of what was left of it, and goes.
func (p *process) confirm(s *State) error {
	text, err := p.read("stat", maxText)
	if err != nil {
		return err
	}
	stat, err := parseStat(text)
	if err != nil {
		return err
	}
	if s.Ended || !ended(stat.run, stat.flags) {
		return nil
	}
	s.Run, s.Ended = stat.run, true
	for _, r := range readers {
		if err := r.lacks(s); err != nil {
			s.clear(r.fields)
			s.miss(err, r.fields...)
		}
	}
	return nil
}
