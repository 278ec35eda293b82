package procstate

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// descriptors reads the descriptor table. A descriptor that is closed between
// listing and reading is left out.
func (p *process) descriptors(s *State) error {
	d, err := p.open("fd", unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	table := make(map[int]Descriptor, len(names))
	var locks lockTable
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			return p.error("parse", "fd", err)
		}
		if p.self && (fd == int(p.dir.Fd()) || fd == int(d.Fd())) {
			continue
		}
		found, held, err := p.descriptor(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		table[fd] = found
		for _, lock := range held {
			locks.add(lock, fd)
		}
	}
	s.Descriptors, s.Locks = table, locks.list
	return nil
}

func (p *process) descriptor(name string) (Descriptor, []Lock, error) {
	path, err := p.link("fd/" + name)
	if err != nil {
		return Descriptor{}, nil, err
	}
	text, err := p.read("fdinfo/"+name, maxText)
	if err != nil {
		return Descriptor{}, nil, err
	}
	d, locks, err := parseFDInfo(text)
	if err != nil {
		return Descriptor{}, nil, p.error("parse", "fdinfo/"+name, err)
	}
	d.Target, d.Deleted = path.Name, path.Deleted
	d.CloseOnExec = d.Flags&unix.O_CLOEXEC != 0
	d.Flags &^= unix.O_CLOEXEC | largefile()
	return d, locks, nil
}

// locks adds to the locks of the descriptors what /proc/locks has: those that
// the process waits for, and where its descriptors can't be read those that it
// took. That list alone would be wrong: it shows a lock of flock(2) with the pid
// that took it, which may have passed it on.
func (p *process) locks(s *State) error {
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return err
	}
	all, err := parseLocks(text)
	if err != nil {
		return &os.PathError{Op: "parse", Path: "/proc/locks", Err: err}
	}
	known := s.Missing["Descriptors"] == nil
	for _, lock := range all {
		if lock.PID == s.PID && (lock.Waiting || !known) {
			s.Locks = append(s.Locks, lock)
		}
	}
	return nil
}

// A lockTable gathers the descriptors that show the same lock.
type lockTable struct {
	list  []Lock
	index map[string]int
}

func (t *lockTable) add(lock Lock, fd int) {
	if t.index == nil {
		t.index = map[string]int{}
	}
	key := lock.String()
	i, ok := t.index[key]
	if !ok {
		i = len(t.list)
		t.index[key] = i
		t.list = append(t.list, lock)
	}
	t.list[i].Descriptors = append(t.list[i].Descriptors, fd)
	slices.Sort(t.list[i].Descriptors)
}
