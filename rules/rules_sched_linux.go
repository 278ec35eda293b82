//go:build cgo && (amd64 || arm64)

package rules

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var schedRules = []Rule{
	{
		ID:     "policy",
		Claim:  "The child has its parent's scheduling policy and priority, and from then on its own.",
		Source: "POSIX fork(); sched(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("SCHED_FIFO", nil, unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO, &priority{3})
			c := p.Fork()
			child := c.State(0)
			t.Equal("the child's policy", int(child.Policy), unix.SCHED_FIFO)
			t.Equal("the child's priority", child.RTPriority, 3)
			c.Call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_NORMAL, &priority{})
			t.Equal("the parent's policy, after the child changed its own", int(p.State(0).Policy), unix.SCHED_FIFO)
		},
	},
	{
		ID:     "policy-batch",
		Claim:  "So it is with the policies without priorities.",
		Source: "sched(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_BATCH, &priority{})
			c := p.Fork()
			t.Equal("the child's policy", int(c.State(0).Policy), unix.SCHED_BATCH)
			c.Call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_IDLE, &priority{})
			t.Equal("the parent's, after the child changed its own", int(p.State(0).Policy), unix.SCHED_BATCH)
		},
	},
	{
		ID:     "reset-on-fork",
		Claim:  "With SCHED_RESET_ON_FORK the child is an ordinary process: normal policy, no negative nice value, no such flag.",
		Source: "sched(7); sched_setscheduler(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("SCHED_FIFO", nil, unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO|unix.SCHED_RESET_ON_FORK, &priority{3})
			c := p.Fork()
			t.Equal("the parent's policy", p.Call(unix.SYS_SCHED_GETSCHEDULER, 0), unix.SCHED_FIFO|unix.SCHED_RESET_ON_FORK)
			t.Equal("the child's policy", c.Call(unix.SYS_SCHED_GETSCHEDULER, 0), unix.SCHED_NORMAL)
			t.Equal("the child's priority", c.State(0).RTPriority, 0)
			for _, nice := range []int{-5, 5} {
				p.Call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_NORMAL|unix.SCHED_RESET_ON_FORK, &priority{})
				p.Call(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, nice)
				t.Equal(fmt.Sprintf("the nice value of the child of one with %d", nice), p.Fork().State(0).Nice, max(nice, 0))
			}
		},
	},
	{
		ID:     "deadline",
		Claim:  "A process with SCHED_DEADLINE can't fork: EAGAIN, unless its child is to be an ordinary process.",
		Source: "fork(2); sched(7)",
		Check: func(t *T) {
			p := t.Fork()
			attr := unix.SchedAttr{Size: uint32(unsafe.Sizeof(unix.SchedAttr{})), Policy: unix.SCHED_DEADLINE,
				Runtime: 1e6, Deadline: 1e7, Period: 1e7}
			p.Need("SCHED_DEADLINE", []syscall.Errno{unix.EBUSY, unix.EINVAL}, unix.SYS_SCHED_SETATTR, 0, &attr, 0)
			t.Equal("fork", p.TryFork(), unix.EAGAIN)
			attr.Flags = 1 // SCHED_FLAG_RESET_ON_FORK
			p.Call(unix.SYS_SCHED_SETATTR, 0, &attr, 0)
			c := p.Fork()
			t.Equal("the policy of the child of one with the reset flag", int(c.State(0).Policy), unix.SCHED_NORMAL)
		},
	},
	{
		ID:     "nice",
		Claim:  "The child has its parent's nice value, and from then on its own.",
		Source: "POSIX nice(); setpriority(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 7)
			c := p.Fork()
			t.Equal("the child's", c.State(0).Nice, 7)
			c.Call(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 9)
			t.Equal("the parent's, after the child changed its own", p.State(0).Nice, 7)
			t.Equal("the child's, changed", c.State(0).Nice, 9)
		},
	},
	{
		ID:     "affinity",
		Claim:  "The child may run on its parent's CPUs, and from then on on its own.",
		Source: "sched_setaffinity(2)",
		Check: func(t *T) {
			p := t.Fork()
			all := p.State(0).Affinity
			if len(all) < 2 {
				t.Skip("this program may run on %d CPU", len(all))
			}
			bind := func(p *Process, cpus ...int) {
				var set unix.CPUSet
				for _, cpu := range cpus {
					set.Set(cpu)
				}
				p.Call(unix.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), &set)
			}
			bind(p, all[1])
			c := p.Fork()
			t.Equal("the child's is the parent's", c.State(0).Affinity[0] == all[1] && len(c.State(0).Affinity) == 1, true)
			bind(c, all[0])
			t.Equal("the parent's is as it was, after the child changed its own", p.State(0).Affinity[0] == all[1], true)
			bind(p, all...)
			t.Equal("the child's has one CPU, after the parent took all", len(c.State(0).Affinity), 1)
		},
	},
	{
		ID:     "io-priority",
		Claim:  "The child has its parent's I/O priority, and from then on its own.",
		Source: "ioprio_set(2)",
		Check: func(t *T) {
			const who, bestEffort = 1, 2 << 13
			p := t.Fork()
			p.Need("ioprio_set", nil, unix.SYS_IOPRIO_SET, who, 0, bestEffort|6)
			c := p.Fork()
			t.Equal("the child's", c.Call(unix.SYS_IOPRIO_GET, who, 0), bestEffort|6)
			c.Call(unix.SYS_IOPRIO_SET, who, 0, bestEffort|7)
			t.Equal("the parent's, after the child changed its own", p.Call(unix.SYS_IOPRIO_GET, who, 0), bestEffort|6)
		},
	},
	{
		ID:     "autogroup",
		Claim:  "The child is in its parent's scheduling group of the session, until it begins a session.",
		Source: "sched(7), autogroup",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_SETSID)
			c := p.Fork()
			name := func(p *Process) string { name, _, _ := strings.Cut(p.Text("autogroup"), " "); return name }
			if name(p) == "" {
				t.Skip("/proc/%d/autogroup is empty", p.Pid())
			}
			t.Equal("the child's group is the parent's", name(c) == name(p), true)
			c.Call(unix.SYS_SETSID)
			t.Equal("the child's group is the parent's, after setsid", name(c) == name(p), false)
		},
	},
	{
		ID:     "oom-score",
		Claim:  "The child has its parent's adjustment of the out-of-memory score, and from then on its own.",
		Source: "proc_pid_oom_score_adj(5)",
		Check: func(t *T) {
			p := t.Fork()
			p.writeProc("oom_score_adj", "321")
			c := p.Fork()
			t.Equal("the child's", c.State(0).OOMScoreAdj, 321)
			c.writeProc("oom_score_adj", "400")
			t.Equal("the parent's, after the child changed its own", p.State(0).OOMScoreAdj, 321)
		},
	},
	{
		ID:     "coredump-filter",
		Claim:  "The child dumps what its parent would, and from then on what it chooses.",
		Source: "core(5)",
		Check: func(t *T) {
			p := t.Fork()
			p.writeProc("coredump_filter", "0x11")
			c := p.Fork()
			t.Equal("the child's filter", c.State(0).CoredumpFilter, uint32(0x11))
			c.writeProc("coredump_filter", "0x1")
			t.Equal("the parent's, after the child changed its own", p.State(0).CoredumpFilter, uint32(0x11))
		},
	},
	{
		ID:     "memory-policy",
		Claim:  "The child has its parent's NUMA memory policy.",
		Source: "set_mempolicy(2)",
		Check: func(t *T) {
			const preferred, bind = 1, 2
			p := t.Fork()
			node := uint64(1)
			p.Need("set_mempolicy", nil, unix.SYS_SET_MEMPOLICY, bind, &node, 64)
			c := p.Fork()
			mode := func(p *Process) int32 {
				mode := int32(-1)
				p.Call(unix.SYS_GET_MEMPOLICY, &mode, nil, 0, 0, 0)
				return mode
			}
			t.Equal("the child's", mode(c), int32(bind))
			c.Call(unix.SYS_SET_MEMPOLICY, preferred, &node, 64)
			t.Equal("the parent's, after the child changed its own", mode(p), int32(bind))
		},
	},
	{
		ID:     "utilisation-clamp",
		Claim:  "The child has its parent's clamps of CPU utilisation.",
		Source: "sched_setattr(2)",
		Check: func(t *T) {
			const keepAll, clampMin = 0x18, 0x20
			p := t.Fork()
			size := uint32(unsafe.Sizeof(unix.SchedAttr{}))
			attr := unix.SchedAttr{Size: size, Flags: keepAll | clampMin, Util_min: 100}
			p.Need("a utilisation clamp by sched_setattr", []syscall.Errno{unix.EINVAL, unix.E2BIG}, unix.SYS_SCHED_SETATTR, 0, &attr, 0)
			var got unix.SchedAttr
			p.Fork().Call(unix.SYS_SCHED_GETATTR, 0, &got, size, 0)
			t.Equal("the child's", got.Util_min, uint32(100))
		},
	},
	{
		ID:     "cgroup",
		Claim:  "The child is in its parent's control group, and stays there when its parent is moved.",
		Source: "cgroups(7)",
		Check: func(t *T) {
			group := t.cgroup()
			p := t.Fork()
			stays := p.Fork()
			t.enter(group, p)
			c := p.Fork()
			t.Equal("the child forked before is in it", t.member(group, stays), false)
			t.Equal("the child forked in it is in it", t.member(group, c), true)
			t.leave(group, p)
			t.Equal("the child is in it, after the parent left", t.member(group, c), true)
			t.Equal("the parent is in it", t.member(group, p), false)
		},
	},
}

// priority is struct sched_param.
type priority struct{ value int32 }

// writeProc writes to a file of /proc/PID as the process itself.
func (p *Process) writeProc(name, text string) {
	path := "/proc/self/" + name
	fd := p.Need("open "+path, []syscall.Errno{unix.ENOENT}, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_WRONLY, 0)
	p.Need("write to "+path, nil, unix.SYS_WRITE, fd, text, len(text))
	p.t.Must(p.CloseFd(fd))
}

// decimal writes a number.
func decimal(n int) string { return strconv.Itoa(n) }
