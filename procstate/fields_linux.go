package procstate

import (
	"cmp"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// threadError is what a pid that names a thread gets: ESRCH, but not
// os.ErrProcessDone, since something does live there.
type threadError struct{}

func (threadError) Error() string   { return "no such process" }
func (threadError) Is(t error) bool { return t == unix.ESRCH }

var errThread error = threadError{}

// clear sets fields to zero.
func (s *State) clear(fields []string) {
	for _, field := range fields {
		reflect.ValueOf(s).Elem().FieldByName(field).SetZero()
	}
}

func (p *process) stat(s *State) error {
	stat, err := p.fs.Stat()
	if err != nil {
		return err
	}
	const kernelThread = 0x00200000 // PF_KTHREAD
	s.Ended = ended(stat.State, stat.Flags)
	s.PPID, s.PGID, s.SID = stat.PPID, stat.PGRP, stat.Session
	s.Run, s.Kernel, s.StartTime = stat.State, stat.Flags&kernelThread != 0, stat.Starttime
	s.TTY, s.ForegroundPGID = TTY(stat.TTY), stat.TPGID
	s.Nice, s.Policy, s.RTPriority = stat.Nice, Policy(stat.Policy), int(stat.RTPriority)
	return nil
}

// ended tells it by the flag as well: between the begin of exit(2) and the zombie
// the state is still R, but memory and descriptors may be gone.
func ended(run string, flags uint) bool {
	const exiting = 0x4 // PF_EXITING
	return run == "Z" || run == "X" || flags&exiting != 0
}

func (p *process) status(s *State, own status) error {
	status, err := p.fs.NewStatus()
	if err != nil {
		return err
	}
	s.UIDs, s.GIDs = ids(status.UIDs), ids(status.GIDs)
	s.Capabilities = Capabilities{
		Inheritable: CapSet(status.CapInh),
		Permitted:   CapSet(status.CapPrm),
		Effective:   CapSet(status.CapEff),
		Bounding:    CapSet(status.CapBnd),
		Ambient:     CapSet(status.CapAmb),
	}
	s.NSPIDs, s.Affinity = numbers(status.NSpids), numbers(status.CpusAllowedList)

	note := func(field string, err error) {
		if err != nil {
			s.miss(err, field)
		}
	}
	s.Groups, err = own.numbers("Groups")
	note("Groups", err)
	s.Umask, err = field[Umask](own, "Umask", 8)
	if s.Ended && err != nil {
		err = errEnded
	}
	note("Umask", err)
	s.NoNewPrivs, err = own.bool("NoNewPrivs")
	note("NoNewPrivs", err)
	s.Seccomp, err = field[SeccompMode](own, "Seccomp", 10)
	note("Seccomp", err)
	s.SeccompFilters, err = own.number("Seccomp_filters")
	note("SeccompFilters", err)
	for _, set := range []struct {
		field, key string
		to         *SignalSet
	}{
		{"Blocked", "SigBlk", &s.Blocked},
		{"Pending", "SigPnd", &s.Pending},
		{"ProcessPending", "ShdPnd", &s.ProcessPending},
		{"Ignored", "SigIgn", &s.Ignored},
		{"Caught", "SigCgt", &s.Caught},
	} {
		*set.to, err = field[SignalSet](own, set.key, 16)
		note(set.field, err)
	}
	return nil
}

func ids(of [4]uint64) IDs {
	return IDs{uint32(of[0]), uint32(of[1]), uint32(of[2]), uint32(of[3])}
}

func numbers(of []uint64) []int {
	var list []int
	for _, n := range of {
		list = append(list, int(n))
	}
	return list
}

func (p *process) exitSignal(s *State) error {
	text, err := p.read("stat", maxText)
	if err != nil {
		return err
	}
	stat, err := parseStat(text)
	if err != nil {
		return p.error("parse", "stat", err)
	}
	s.ExitSignal = stat.exitSignal
	return nil
}

func (p *process) comm(s *State) (err error) {
	s.Name, err = p.readLine("comm")
	return err
}

// dumpable: /proc gives the files of a process that isn't dumpable to root.
func (p *process) dumpable(s *State) error {
	if p.self {
		value, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		s.Dumpable = value == 1
		return err
	}
	if s.UIDs.Effective == 0 && s.GIDs.Effective == 0 {
		return errors.New("/proc can't tell it of a process with user and group 0")
	}
	var file unix.Stat_t
	if err := unix.Fstatat(int(p.dir.Fd()), "status", &file, 0); err != nil {
		return p.error("stat", "status", err)
	}
	s.Dumpable = file.Uid == s.UIDs.Effective && file.Gid == s.GIDs.Effective
	return nil
}

func (p *process) loginUID(s *State) (err error) {
	s.LoginUID, err = number[uint32](p, "loginuid", 10)
	return err
}

func (p *process) auditSession(s *State) (err error) {
	s.AuditSession, err = number[uint32](p, "sessionid", 10)
	return err
}

func (p *process) personality(s *State) (err error) {
	s.Personality, err = number[Personality](p, "personality", 16)
	return err
}

func (p *process) timerSlack(s *State) (err error) {
	s.TimerSlack, err = number[time.Duration](p, "timerslack_ns", 10)
	return err
}

func (p *process) oomScoreAdj(s *State) (err error) {
	s.OOMScoreAdj, err = number[int](p, "oom_score_adj", 10)
	return err
}

func (p *process) coredumpFilter(s *State) (err error) {
	s.CoredumpFilter, err = number[uint32](p, "coredump_filter", 16)
	return err
}

// number reads a file of one number.
func number[T integer](p *process, name string, base int) (T, error) {
	line, err := p.readLine(name)
	if err != nil {
		return 0, err
	}
	n, err := parseNumber[T](line, base)
	if err != nil {
		return 0, p.error("parse", name, err)
	}
	return n, nil
}

func (p *process) cwd(s *State) (err error)  { s.Cwd, err = p.link("cwd"); return err }
func (p *process) root(s *State) (err error) { s.Root, err = p.link("root"); return err }
func (p *process) exe(s *State) (err error)  { s.Exe, err = p.link("exe"); return err }

func (p *process) argv(s *State) error {
	text, err := p.read("cmdline", maxText)
	if err == nil && len(text) == 0 {
		err = ErrInExec // since Linux 5.18 every program has one argument at least
	}
	s.Argv = splitStrings(text)
	return err
}

func (p *process) env(s *State) error {
	text, err := p.read("environ", maxText)
	if err == nil && len(text) == 0 && s.Missing["Argv"] == ErrInExec {
		err = ErrInExec
	}
	s.Env = splitStrings(text)
	return err
}

func (p *process) limits(s *State) error {
	text, err := p.read("limits", maxText)
	if err != nil {
		return err
	}
	limits, err := parseLimits(text)
	if err != nil {
		return p.error("parse", "limits", err)
	}
	s.Limits = limits
	return nil
}

func (p *process) autogroup(s *State) error {
	line, err := p.readLine("autogroup")
	if err != nil {
		return err
	}
	group, nice, err := parseAutogroup(line)
	if err != nil {
		return p.error("parse", "autogroup", err)
	}
	s.Autogroup, s.AutogroupNice = group, nice
	return nil
}

// namespaces reads the links one by one: one that can't be read, as
// pid_for_children before the first child, leaves the others.
func (p *process) namespaces(s *State) error {
	names, err := p.list("ns")
	if err != nil {
		return err
	}
	slices.Sort(names)
	found := make(map[string]uint64, len(names))
	missing := Missing{}
	for _, name := range names {
		target, err := p.readlink("ns/" + name)
		if err == nil {
			found[name], err = parseNamespace(target)
		}
		if err != nil {
			delete(found, name)
			missing["Namespaces["+name+"]"] = err
		}
	}
	if len(found) == 0 && len(names) > 0 {
		return missing["Namespaces["+names[0]+"]"]
	}
	s.Namespaces = found
	for name, err := range missing {
		s.miss(err, name)
	}
	return nil
}

func (p *process) cgroups(s *State) error {
	groups, err := p.fs.Cgroups()
	if err != nil {
		return err
	}
	s.Cgroups = make(map[string]string, len(groups))
	for _, g := range groups {
		s.Cgroups[cmp.Or(strings.Join(g.Controllers, ","), "unified")] = g.Path
	}
	return nil
}

func (p *process) timers(s *State) error {
	text, err := p.read("timers", maxText)
	if err != nil {
		return err
	}
	timers, err := parseTimers(text)
	if err != nil {
		return p.error("parse", "timers", err)
	}
	s.Timers = timers
	return nil
}

func (p *process) memory(s *State) error {
	sum, err := p.fs.ProcSMapsRollup()
	if err != nil {
		return err
	}
	s.Memory = Memory{
		Rss:          sum.Rss,
		Pss:          sum.Pss,
		SharedClean:  sum.SharedClean,
		SharedDirty:  sum.SharedDirty,
		PrivateClean: sum.PrivateClean,
		PrivateDirty: sum.PrivateDirty,
		Anonymous:    sum.Anonymous,
		Swap:         sum.Swap,
	}
	return nil
}

func (p *process) maps(s *State) error {
	text, err := p.read("smaps", maxMaps)
	if err != nil {
		return err
	}
	maps, err := parseMaps(text)
	if err != nil {
		return p.error("parse", "smaps", err)
	}
	for i := range maps {
		m := &maps[i]
		path := p.undelete(m.Name, unix.Mkdev(m.Major, m.Minor), m.Inode)
		m.Name, m.Deleted = path.Name, path.Deleted
	}
	s.Maps = maps
	return nil
}

// threads reads every thread; one that ends meanwhile is left out.
func (p *process) threads(s *State) error {
	names, err := p.list("task")
	if err != nil {
		return err
	}
	var threads []Thread
	for _, name := range names {
		tid, err := strconv.Atoi(name)
		if err != nil {
			return p.error("parse", "task", err)
		}
		t, err := p.thread(tid)
		if gone(err) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		threads = append(threads, t)
	}
	slices.SortFunc(threads, func(a, b Thread) int { return cmp.Compare(a.TID, b.TID) })
	s.Threads = threads
	return nil
}

func (p *process) thread(tid int) (Thread, error) {
	dir := "task/" + strconv.Itoa(tid)
	name, err := p.readLine(dir + "/comm")
	if err != nil {
		return Thread{}, err
	}
	text, err := p.read(dir+"/status", maxText)
	if err != nil {
		return Thread{}, err
	}
	own := parseStatus(text)
	proc, err := p.fs.Thread(tid)
	if err != nil {
		return Thread{}, err
	}
	stat, err := proc.Stat()
	if err != nil {
		return Thread{}, err
	}
	status, err := proc.NewStatus()
	if err != nil {
		return Thread{}, err
	}
	blocked, err := field[SignalSet](own, "SigBlk", 16)
	if err != nil {
		return Thread{}, err
	}
	pending, err := field[SignalSet](own, "SigPnd", 16)
	if err != nil {
		return Thread{}, err
	}
	return Thread{
		TID: tid, Name: name, Run: stat.State,
		Blocked: blocked, Pending: pending,
		Nice: stat.Nice, Policy: Policy(stat.Policy), RTPriority: int(stat.RTPriority),
		Affinity: numbers(status.CpusAllowedList),
	}, nil
}
