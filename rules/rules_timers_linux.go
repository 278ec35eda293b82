//go:build cgo && (amd64 || arm64)

package rules

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork/procstate"
)

var timerRules = []Rule{
	{
		ID:     "cpu-clock",
		Claim:  "The child's CPU clocks, the process's and the thread's, count from the fork on: nothing of what its parent has used.",
		Source: "POSIX fork(), clock_getres()",
		Check: func(t *T) {
			p := t.Fork()
			spent := p.burn(100 * time.Millisecond)
			forked := time.Now()
			c := p.Fork()
			for _, clock := range []struct {
				name string
				id   int
			}{{"process", unix.CLOCK_PROCESS_CPUTIME_ID}, {"thread", unix.CLOCK_THREAD_CPUTIME_ID}} {
				child, err := c.ClockGettime(clock.id)
				t.Must(err)
				t.True("the child's "+clock.name+" clock, no more than the time since the fork", child <= time.Since(forked), child)
				t.True("the child's "+clock.name+" clock, less than the parent had spent", child < spent, child)
			}
			parent, err := p.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID)
			t.Must(err)
			t.True("the parent's, at least what it had spent", parent >= spent, parent)
		},
	},
	{
		ID:     "tms",
		Claim:  "What times says in the child counts from the fork on: of its own time no more than its CPU clock, of its children's none.",
		Source: "POSIX fork(), times(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			first := p.Fork()
			first.burn(50 * time.Millisecond)
			first.EndAndReap()
			p.burn(100 * time.Millisecond)
			c := p.Fork()
			parent, err := p.Times()
			t.Must(err)
			child, err := c.Times()
			t.Must(err)
			clock, err := c.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID)
			t.Must(err)
			t.True("the parent's own ticks", parent.Utime+parent.Stime > 0, parent.Utime+parent.Stime)
			t.True("the parent's ticks of children", parent.Cutime+parent.Cstime > 0, parent.Cutime+parent.Cstime)
			t.True("the child's own ticks, no more than its CPU clock", time.Duration(child.Utime+child.Stime)*tick <= clock, child.Utime+child.Stime)
			t.True("the child's own ticks, less than the parent's", child.Utime+child.Stime < parent.Utime+parent.Stime, child.Utime+child.Stime)
			t.Equal("the child's ticks of children", child.Cutime+child.Cstime, int64(0))
		},
	},
	{
		ID:     "rusage",
		Claim:  "What getrusage counts begins anew in the child: nothing of its parent's page faults, and all of its children's at zero.",
		Source: "fork(2); getrusage(2)",
		Check: func(t *T) {
			p := t.Fork()
			const n = 2000
			addr := p.region(n)
			p.fill(addr, n)
			first := p.Fork()
			first.EndAndReap()
			c := p.Fork()
			own := func(p *Process, who int) unix.Rusage {
				usage, err := p.Getrusage(who)
				t.Must(err)
				return usage
			}
			t.True("page faults of the parent", own(p, unix.RUSAGE_SELF).Minflt >= n, own(p, unix.RUSAGE_SELF).Minflt)
			t.True("page faults of the child, fewer than those", own(c, unix.RUSAGE_SELF).Minflt < n, own(c, unix.RUSAGE_SELF).Minflt)
			t.True("page faults of the parent's children", own(p, unix.RUSAGE_CHILDREN).Minflt > 0, own(p, unix.RUSAGE_CHILDREN).Minflt)
			t.Equal("all of the child's children", own(c, unix.RUSAGE_CHILDREN), unix.Rusage{})
		},
	},
	{
		ID:     "rusage-waited",
		Claim:  "The parent is charged for a child when it has waited for it, and never for one that it doesn't wait for.",
		Source: "POSIX getrusage(), times(); getrusage(2)",
		Check: func(t *T) {
			p := t.Fork()
			faults := func() int64 {
				usage, err := p.Getrusage(unix.RUSAGE_CHILDREN)
				t.Must(err)
				return usage.Minflt
			}
			c := p.Fork()
			c.End(0)
			t.Equal("charged, before the wait", faults(), int64(0))
			c.Status()
			charged := faults()
			t.True("charged, after it", charged > 0, charged)
			p.ignore(unix.SIGCHLD)
			c = p.Fork()
			c.End(0)
			t.Equal("wait for a child, with SIGCHLD ignored", p.Errno(unix.SYS_WAIT4, c.Pid(), nil, 0, nil), unix.ECHILD)
			t.Equal("charged for that one", faults()-charged, int64(0))
		},
	},
	{
		ID:     "alarm",
		Claim:  "An alarm of the parent is none of the child's.",
		Source: "POSIX fork(), alarm(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGALRM)
			p.block(unix.SIGALRM)
			_, err := p.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Value: unix.Timeval{Usec: 20_000}})
			t.Must(err)
			c := p.Fork()
			t.Equal("the parent's alarm comes", p.takeSignal(unix.SIGALRM).Signal, unix.SIGALRM)
			t.Equal("what waits for the child then", c.pending(), procstate.SignalSet(0))
		},
	},
	{
		ID:     "interval-timers",
		Claim:  "None of the parent's three interval timers runs in the child, and its own don't touch the parent's.",
		Source: "POSIX fork(), setitimer(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			timers := []struct {
				name  string
				which int
			}{{"real", unix.ITIMER_REAL}, {"virtual", unix.ITIMER_VIRTUAL}, {"profiling", unix.ITIMER_PROF}}
			hour := unix.Itimerval{Interval: unix.Timeval{Sec: 3600}, Value: unix.Timeval{Sec: 3600}}
			for _, timer := range timers {
				_, err := p.Setitimer(timer.which, hour)
				t.Must(err)
			}
			c := p.Fork()
			for _, timer := range timers {
				child, err := c.Getitimer(timer.which)
				t.Must(err)
				t.Equal(timer.name+" timer of the child", child, unix.Itimerval{})
				_, err = c.Setitimer(timer.which, unix.Itimerval{})
				t.Must(err)
				parent, err := p.Getitimer(timer.which)
				t.Must(err)
				t.Equal(timer.name+" timer of the parent runs", parent.Value.Sec > 3000, true)
			}
		},
	},
	{
		ID:     "posix-timers",
		Claim:  "The child has none of its parent's POSIX timers.",
		Source: "POSIX fork(), timer_create(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			var id int32
			p.Need("timer_create", nil, unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, nil, &id)
			p.Call(unix.SYS_TIMER_SETTIME, id, 0, &unix.ItimerSpec{Value: unix.Timespec{Sec: 3600}}, nil)
			c := p.Fork()
			var left unix.ItimerSpec
			t.Equal("the child asks for it", c.Errno(unix.SYS_TIMER_GETTIME, id, &left), unix.EINVAL)
			t.Equal("the child deletes it", c.Errno(unix.SYS_TIMER_DELETE, id), unix.EINVAL)
			p.Call(unix.SYS_TIMER_GETTIME, id, &left)
			t.Equal("the parent's runs", left.Value.Sec > 3000, true)
			t.Equal("timers of the child", len(c.State(0).Timers), 0)
		},
	},
	{
		ID:     "timer-slack",
		Claim:  "The child has its parent's timer slack, and has it as its default too.",
		Source: "fork(2); PR_SET_TIMERSLACK(2const)",
		Check: func(t *T) {
			p := t.Fork()
			const slack, other = 123_456, 654_321
			was := p.Call(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK)
			p.Call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, slack)
			c := p.Fork()
			ask := func(p *Process) int { return p.Call(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK) }
			t.Equal("the child's", ask(c), slack)
			c.Call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, other)
			t.Equal("the parent's, after the child changed its own", ask(p), slack)
			c.Call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 0)
			t.Equal("the child's default", ask(c), slack)
			p.Call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 0)
			t.Equal("the parent's default, which is as it was", ask(p), was)
		},
	},
	{
		ID:     "io-accounting",
		Claim:  "What /proc counts of a process's input and output begins at zero in the child.",
		Source: "proc_pid_io(5)",
		Check: func(t *T) {
			p := t.Fork()
			fd, err := p.Open("/dev/zero", unix.O_RDONLY, 0)
			t.Must(err)
			const n = 60_000
			p.read(fd, n)
			c := p.Fork()
			parent, child := p.ioCount(), c.ioCount()
			t.True("bytes that the parent has read", parent >= n, parent)
			t.Equal("bytes that the child has read", child, 0)
			c.read(fd, 100)
			t.Equal("bytes that the child has read, after it read 100", c.ioCount(), 100)
		},
	},
}

// tick is what times(2) counts in.
const tick = time.Second / 100

// burn has the process use up CPU time, and returns how much it has used by then. It is
// asked between two pieces of work: a timer on that clock would end the work early, but
// is what some of the rules are about.
func (p *Process) burn(least time.Duration) time.Duration {
	addr := p.Map(1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1)
	for {
		spent, err := p.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID)
		p.t.Must(err)
		if spent >= least {
			return spent
		}
		if errno := p.Errno(unix.SYS_GETRANDOM, addr, 1<<20, 0); errno != 0 && errno != syscall.EINTR {
			p.t.Must(errno)
		}
	}
}
