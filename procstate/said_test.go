//go:build linux

package procstate_test

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/internal/rawcall"
	"rawfork/procstate"
)

// said is what a process is by its own system calls.
type said struct {
	PID, PPID, PGID, SID     int
	UIDs, GIDs               procstate.IDs
	Groups                   []int
	Capabilities             procstate.Capabilities
	Umask                    procstate.Umask
	NoNewPrivs, Dumpable     bool
	Seccomp                  procstate.SeccompMode
	Personality              procstate.Personality
	Cwd, Name                string
	Argv, Env                []string
	Blocked, Ignored, Caught procstate.SignalSet
	AllPending               procstate.SignalSet
	Limits                   map[string]procstate.Limit
	Nice, RTPriority         int
	Policy                   procstate.Policy
	Affinity                 []int
	TimerSlack               time.Duration
}

// of picks the same of a state.
func of(s *procstate.State) said {
	return said{
		PID: s.PID, PPID: s.PPID, PGID: s.PGID, SID: s.SID,
		UIDs: s.UIDs, GIDs: s.GIDs, Groups: s.Groups, Capabilities: s.Capabilities,
		Umask: s.Umask, NoNewPrivs: s.NoNewPrivs, Dumpable: s.Dumpable,
		Seccomp: s.Seccomp, Personality: s.Personality, Cwd: s.Cwd.Name, Name: s.Name,
		Argv: s.Argv, Env: s.Env,
		Blocked: s.Blocked, Ignored: s.Ignored, Caught: s.Caught,
		AllPending: s.Pending | s.ProcessPending,
		Limits:     s.Limits, Nice: s.Nice, RTPriority: s.RTPriority, Policy: s.Policy,
		Affinity: s.Affinity, TimerSlack: s.TimerSlack,
	}
}

// ask asks the kernel.
func ask() (said, error) {
	s := said{PID: os.Getpid(), PPID: os.Getppid(), PGID: unix.Getpgrp(), Argv: os.Args, Env: unixEnv()}
	var err error
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	s.SID, _ = unix.Getsid(0)
	s.UIDs, s.GIDs = resids(unix.SYS_GETRESUID, unix.SYS_SETFSUID), resids(unix.SYS_GETRESGID, unix.SYS_SETFSGID)
	var e error
	s.Groups, e = unix.Getgroups()
	keep(e)
	s.Capabilities, e = capabilities()
	keep(e)
	mask := unix.Umask(0)
	unix.Umask(mask)
	s.Umask = procstate.Umask(mask)
	s.NoNewPrivs = prctl(unix.PR_GET_NO_NEW_PRIVS) == 1
	s.Dumpable = prctl(unix.PR_GET_DUMPABLE) == 1
	s.Seccomp = procstate.SeccompMode(prctl(unix.PR_GET_SECCOMP))
	s.TimerSlack = time.Duration(prctl(unix.PR_GET_TIMERSLACK))
	persona, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	s.Personality = procstate.Personality(persona)
	s.Cwd, e = unix.Getwd()
	keep(e)
	var name [16]byte
	keep(rawcall.Prctl(unix.PR_GET_NAME, unsafe.Pointer(&name[0])))
	s.Name = unix.ByteSliceToString(name[:])
	keep(s.signals())
	keep(s.limits())
	keep(s.scheduling())
	return s, err
}

// unixEnv is the environment as exec passed it: the test's marks were only
// removed from Go's copy.
func unixEnv() []string { return append(os.Environ(), "FORKTEST_HELPER=subject") }

func prctl(option int) int {
	value, _ := unix.PrctlRetInt(option, 0, 0, 0, 0)
	return value
}

func resids(get, fs uintptr) procstate.IDs {
	var r, e, s uint32
	unix.RawSyscall(get, uintptr(unsafe.Pointer(&r)), uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&s)))
	id, _, _ := unix.RawSyscall(fs, ^uintptr(0), 0, 0)
	return procstate.IDs{Real: r, Effective: e, Saved: s, FS: uint32(id)}
}

func capabilities() (c procstate.Capabilities, err error) {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return c, err
	}
	set := func(low, high uint32) procstate.CapSet {
		return procstate.CapSet(low) | procstate.CapSet(high)<<32
	}
	c.Inheritable = set(data[0].Inheritable, data[1].Inheritable)
	c.Permitted = set(data[0].Permitted, data[1].Permitted)
	c.Effective = set(data[0].Effective, data[1].Effective)
	for n := range uintptr(64) {
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, n, 0, 0, 0); err == nil {
			c.Bounding |= procstate.CapSet(has) << n
		}
		if has, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, n, 0, 0); err == nil {
			c.Ambient |= procstate.CapSet(has) << n
		}
	}
	return c, nil
}

func (s *said) signals() error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, 0,
		uintptr(unsafe.Pointer(&s.Blocked)), 8, 0, 0)
	if errno != 0 {
		return errno
	}
	_, _, errno = unix.RawSyscall(unix.SYS_RT_SIGPENDING, uintptr(unsafe.Pointer(&s.AllPending)), 8, 0)
	if errno != 0 {
		return errno
	}
	for n := range procstate.Signal(64) {
		n++
		var action struct {
			handler, flags, restorer uintptr
			mask                     uint64
		}
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), 0,
			uintptr(unsafe.Pointer(&action)), 8, 0, 0)
		if errno != 0 {
			return errno
		}
		switch action.handler {
		case 0: // SIG_DFL
		case 1: // SIG_IGN
			s.Ignored |= procstate.Signals(n)
		default:
			s.Caught |= procstate.Signals(n)
		}
	}
	return nil
}

func (s *said) limits() error {
	names := []string{"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile",
		"memlock", "as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime"}
	s.Limits = map[string]procstate.Limit{}
	for resource, name := range names {
		var limit unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &limit); err != nil {
			return err
		}
		s.Limits[name] = procstate.Limit{Soft: limit.Cur, Hard: limit.Max}
	}
	return nil
}

func (s *said) scheduling() error {
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	s.Nice = 20 - priority // the system call returns it turned round
	policy, _, _ := unix.RawSyscall(unix.SYS_SCHED_GETSCHEDULER, 0, 0, 0)
	s.Policy = procstate.Policy(policy)
	var parameter int32
	unix.RawSyscall(unix.SYS_SCHED_GETPARAM, 0, uintptr(unsafe.Pointer(&parameter)), 0)
	s.RTPriority = int(parameter)
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return err
	}
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			s.Affinity = append(s.Affinity, cpu)
		}
	}
	return nil
}
