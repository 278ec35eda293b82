//go:build linux && cgo && (amd64 || arm64)

package rules

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/probe"
	"rawfork/procstate"
)

// wrongForks are forks that do more or less than fork(2), each with the rules that it
// breaks: so those can fail.
var wrongForks = []struct {
	name   string
	fork   func(p *Process) *Process
	breaks string
}{
	{"shares descriptors", cloneWith(unix.CLONE_FILES), "descriptors-copied cloexec-private nothing-shared clone-files"},
	{"shares directories", cloneWith(unix.CLONE_FS), "umask directory root-directory clone-fs"},
	{"shares the I/O context", cloneWith(unix.CLONE_IO), "io-priority clone-io"},
	{"shares semaphore adjustments", cloneWith(unix.CLONE_SYSVSEM), "semadj-own"},
	{"makes a sibling", cloneWith(unix.CLONE_PARENT), "parent-pid zombie wait-own-children"},
	{"clears handlers", cloneWith(unix.CLONE_CLEAR_SIGHAND), "handlers clear-handlers"},
	{"in a pid namespace", cloneWith(unix.CLONE_NEWPID), "state-copied"},
	{"in a mount namespace", cloneWith(unix.CLONE_NEWNS), "mounts"},
	{"in a uts namespace", cloneWith(unix.CLONE_NEWUTS), "host-name namespaces"},
	{"in an ipc namespace", cloneWith(unix.CLONE_NEWIPC), "ipc-namespace"},
	{"sends another signal", cloneSignalling(int(unix.SIGUSR2)), "exit-signal clone-children sigchld-merge sleep-goes-on sigchld-tells sigchld-nocldstop nocldwait"},
	{"unblocks signals", then(func(c *Process) { setMask(c, unix.SIG_SETMASK, 0) }), "signal-mask"},
	{"has pending signals", then(raisePending), "pending-process pending-thread pending-queue alarm"},
	{"ignores signals", then(ignoreSignals), "signal-one-process"},
	{"keeps the death signal", then(func(c *Process) { c.Call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGUSR1)) }), "pdeathsig-cleared"},
	{"keeps timers", then(setTimers), "interval-timers posix-timers"},
	{"keeps memory locks", then(lockMemory), "mlock mlockall"},
	{"is a subreaper", then(func(c *Process) { c.Call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1) }), "subreaper-not-inherited orphan orphan-init"},
	{"has a session of its own", then(func(c *Process) { c.Call(unix.SYS_SETSID) }), "process-group session-leader terminal terminal-signal autogroup setpgid-child"},
	{"has a group of its own", then(func(c *Process) { c.Call(unix.SYS_SETPGID, 0, 0) }), "wait-group"},
	{"has default attributes", then(resetAttributes), "same-program timer-slack oom-score coredump-filter memory-policy alternate-stack break-own personality"},
	{"has other ids", then(resetIDs), "user-ids groups securebits keepcaps capabilities"},
	{"has other limits", then(resetLimits), "limits"},
	{"has default scheduling", then(resetScheduling), "policy policy-batch nice affinity reset-on-fork"},
	{"has default flags", then(resetFlags), "thp-disable memory-merge mce-kill dumpable keyrings"},
	{"closes descriptors", then(func(c *Process) { c.t.Must(c.KeepOnly(0, 1, 2)) }), "end-needs-all"},
	{"opens files anew", then(reopen), "description-shared offset-shared flock-shared ofd-locks directory-stream"},
	{"is charged", then(charge), "cpu-clock tms rusage io-accounting"},
	{"wipes memory", then(wipe), "memory-copied map-private map-file-private dontfork futex-shared cow-pages map-shared map-file-shared wipeonfork"},
	{"wipes the parent's memory", func(p *Process) *Process { c := fork(p); wipe(p); return c }, "environment"},
	{"unmaps memory", then(unmap), "maps-kept unmap-own shm-attached uring-shared"},
	{"forks twice", func(p *Process) *Process { fork(p); return fork(p) }, "wait-nohang"},
	{"joins another group", then(func(c *Process) { moveOut(c) }), "cgroup"},
}

// fork is the true fork.
func fork(p *Process) *Process {
	c, err := p.Probe.Fork()
	p.t.Must(err)
	return p.t.adopt(c)
}

func cloneSignalling(sig int, flags ...uint64) func(p *Process) *Process {
	return func(p *Process) *Process {
		all := uint64(sig)
		for _, f := range flags {
			all |= f
		}
		c, err := p.Probe.Clone(all)
		p.t.Must(err)
		return p.t.adopt(c)
	}
}

func cloneWith(flags uint64) func(p *Process) *Process {
	return cloneSignalling(int(unix.SIGCHLD), flags)
}

// then forks, and changes the child.
func then(change func(c *Process)) func(p *Process) *Process {
	return func(p *Process) *Process {
		c := fork(p)
		change(c)
		return c
	}
}

func setMask(c *Process, how int, set uint64) {
	_, err := c.Sigprocmask(how, set)
	c.t.Must(err)
}

// raisePending raises what is blocked.
func raisePending(c *Process) {
	blocked, err := c.Sigprocmask(unix.SIG_BLOCK, 0)
	c.t.Must(err)
	for sig := unix.SIGHUP; sig < 64; sig++ {
		if blocked&probe.Mask(sig) != 0 && sig != unix.SIGCHLD {
			c.t.Must(c.Raise(sig))
			c.t.Must(c.RaiseThread(sig))
		}
	}
}

func setTimers(c *Process) {
	for _, which := range []int{unix.ITIMER_REAL, unix.ITIMER_VIRTUAL, unix.ITIMER_PROF} {
		_, err := c.Setitimer(which, unix.Itimerval{Value: unix.Timeval{Sec: 3600}})
		c.t.Must(err)
	}
	var id int32
	c.Call(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, nil, &id)
}

func resetAttributes(c *Process) {
	c.Call(unix.SYS_PRCTL, unix.PR_SET_NAME, "wrong")
	c.Call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 50_000)
	c.Errno(unix.SYS_IOPRIO_SET, 1, 0, 0)
	c.writeProc("oom_score_adj", "0")
	c.writeProc("coredump_filter", "0x33")
	c.Errno(unix.SYS_SET_MEMPOLICY, 0, nil, 0)
	c.Call(unix.SYS_SIGALTSTACK, &[3]uint64{0, 2, 0}, nil)
	c.Call(unix.SYS_BRK, c.Call(unix.SYS_BRK, 0)+page)
	c.Call(unix.SYS_PERSONALITY, 0)
}

func resetIDs(c *Process) {
	c.Errno(unix.SYS_SETGROUPS, 1, []uint32{77})
	c.Errno(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	c.Errno(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, 2)
	c.Errno(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0)
	c.Errno(unix.SYS_SETRESGID, 2001, 2001, 2001)
	c.Errno(unix.SYS_SETRESUID, 1001, 1001, 1001)
}

func resetLimits(c *Process) {
	for _, resource := range []int{unix.RLIMIT_CORE, unix.RLIMIT_STACK} {
		c.t.Must(c.Setrlimit(resource, unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}))
	}
}

func resetScheduling(c *Process) {
	c.Call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_NORMAL, &priority{})
	c.Errno(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, -3)
	var set unix.CPUSet
	for cpu := range 64 {
		set.Set(cpu)
	}
	c.Call(unix.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), &set)
}

func resetFlags(c *Process) {
	c.Call(unix.SYS_PRCTL, unix.PR_SET_THP_DISABLE, 0, 0, 0, 0)
	c.Errno(unix.SYS_PRCTL, unix.PR_SET_MEMORY_MERGE, 0, 0, 0, 0)
	c.Errno(unix.SYS_PRCTL, unix.PR_MCE_KILL, 0, 0, 0, 0)
	c.Call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1)
	c.Errno(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, nil)
	c.Errno(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_PROCESS_KEYRING, 1)
}

// reopen gives the child descriptions of its own for what it has.
func reopen(c *Process) {
	for fd := 3; fd < 20; fd++ {
		path := fmt.Sprintf("/proc/self/fd/%d", fd)
		for _, flags := range []int{unix.O_RDWR, unix.O_RDONLY, unix.O_WRONLY} {
			if other, err := c.Syscall(unix.SYS_OPENAT, unix.AT_FDCWD, path, flags|unix.O_NONBLOCK, 0); err == nil {
				c.Call(unix.SYS_DUP3, int(other), fd, 0)
				c.t.Must(c.CloseFd(int(other)))
				break
			}
		}
	}
}

// own tells whether the mapping is one that a check made: small, anonymous or of a
// file in a temporary directory.
func own(m procstate.Map) bool {
	return m.End-m.Start <= uint64(64*page) && strings.HasPrefix(m.Perms, "rw") &&
		(m.Name == "" || strings.HasPrefix(m.Name, "/dev/zero") || strings.Contains(m.Name, "rawfork-rules") || strings.HasPrefix(m.Name, "anon_inode:"))
}

func wipe(p *Process) {
	for _, m := range p.State(procstate.Maps).Maps {
		if own(m) {
			p.Poke(uintptr(m.Start), []byte(strings.Repeat("\xff", page)))
		}
	}
	set(p, &initialised, 99)
	p.Put(p.environment(), "#")
}

func unmap(p *Process) {
	for _, m := range p.State(procstate.Maps).Maps {
		if own(m) || strings.HasPrefix(m.Name, "/SYSV") {
			p.Call(unix.SYS_MUNMAP, m.Start, m.End-m.Start)
		}
	}
}

func ignoreSignals(c *Process) {
	for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGINT, unix.SIGHUP} {
		c.ignore(sig)
	}
}

func lockMemory(c *Process) {
	c.Call(unix.SYS_MLOCKALL, unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT)
}

// charge has the child, and a child of the child, use what is counted.
func charge(c *Process) {
	fork(c).EndAndReap()
	c.burn(150 * time.Millisecond)
	read(c)
}

// moveOut moves the child to the control group that this program is in.
func moveOut(c *Process) {
	for _, dir := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		if os.WriteFile(dir+"/cgroup.procs", []byte(decimal(c.Pid())), 0) == nil {
			return
		}
	}
}

// read reads what is counted.
func read(c *Process) {
	fd, err := c.Open("/dev/zero", unix.O_RDONLY, 0)
	c.t.Must(err)
	c.read(fd, 60_000)
}

// Each wrong fork breaks the rules that stand with it: the first of them, and all in
// the long form of the tests, make soak.
func TestWrongForks(t *testing.T) {
	byID := map[string]Rule{}
	for _, rule := range Rules() {
		byID[rule.ID] = rule
	}
	for _, wrong := range wrongForks {
		ids := strings.Fields(wrong.breaks)
		if os.Getenv("RAWFORK_SOAK_FORKS") == "" {
			ids = ids[:1]
		}
		for _, id := range ids {
			t.Run(wrong.name+"/"+id, func(t *testing.T) {
				rule, ok := byID[id]
				if !ok {
					t.Fatal("there is no such rule")
				}
				ctx, cancel := context.WithTimeout(context.Background(), CheckLimit)
				defer cancel()
				result := (&T{wrong: wrong.fork}).run(ctx, rule)
				switch result.Outcome {
				case Broken:
				case Skipped:
					t.Skip(result.Reason)
				default:
					t.Errorf("%s, want %s", result.Outcome, Broken)
				}
			})
		}
	}
}
