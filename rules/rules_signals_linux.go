//go:build cgo && (amd64 || arm64)

package rules

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/probe"
	"rawfork/procstate"
)

var signalRules = []Rule{
	{
		ID:     "signal-mask",
		Claim:  "The child has its parent's signal mask, and from then on one of its own.",
		Source: "POSIX fork(), sigprocmask(); signal(7)",
		Check: func(t *T) {
			p := t.Fork()
			mask := func(p *Process) procstate.SignalSet { return p.State(0).Blocked }
			p.block(unix.SIGUSR1, unix.SIGTERM, 40)
			c := p.Fork()
			want := signals(unix.SIGUSR1, unix.SIGTERM, 40)
			t.Equal("the child's mask", mask(c), want)
			c.unblock(unix.SIGTERM)
			t.Equal("the parent's, after the child changed its own", mask(p), want)
			p.block(unix.SIGUSR2)
			t.Equal("the child's, after both changed theirs", mask(c), signals(unix.SIGUSR1, 40))
		},
	},
	{
		ID:     "signal-mask-of-caller",
		Claim:  "The child of a program with several threads has the mask of the one that forked.",
		Source: "POSIX fork()",
		Check: func(t *T) {
			// The thread is locked, and ends with the check.
			runtime.LockOSThread()
			set := probe.Mask(unix.SIGUSR1, unix.SIGUSR2)
			var old unix.Sigset_t
			t.Must(os.NewSyscallError("sigprocmask", unix.PthreadSigmask(unix.SIG_BLOCK, sigset(set), &old)))
			p := t.Fork()
			t.Equal("the child's mask has both signals", p.State(0).Blocked&procstate.SignalSet(set), procstate.SignalSet(set))
			t.Must(os.NewSyscallError("sigprocmask", unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)))
			t.Equal("the next child's has", t.Fork().State(0).Blocked&procstate.SignalSet(set), procstate.SignalSet(0))
		},
	},
	{
		ID:     "handlers",
		Claim:  "The child has its parent's signal handlers, with their flags and masks, and from then on its own.",
		Source: "POSIX fork(), sigaction(); signal(7)",
		Check: func(t *T) {
			p := t.Fork()
			action := probe.Action{Handler: probe.Count, Flags: saRestart, Mask: probe.Mask(unix.SIGHUP)}
			_, err := p.Sigaction(unix.SIGUSR1, &action)
			t.Must(err)
			p.ignore(unix.SIGUSR2)
			ask := func(p *Process, sig syscall.Signal) probe.Action {
				action, err := p.Sigaction(sig, nil)
				t.Must(err)
				return action
			}
			want := ask(p, unix.SIGUSR1)
			c := p.Fork()
			t.Equal("the child's handler", ask(c, unix.SIGUSR1), want)
			t.Equal("the child's ignored signal", ask(c, unix.SIGUSR2).Handler, probe.Ignore)
			t.Equal("the child's untouched signal", ask(c, unix.SIGTERM).Handler, probe.Default)
			t.Must(c.Raise(unix.SIGUSR1))
			t.Equal("the child's handler has run", c.handled(unix.SIGUSR1), 1)
			t.Equal("the parent's has", p.handled(unix.SIGUSR1), 0)
			c.ignore(unix.SIGUSR1)
			t.Equal("the parent's handler, after the child ignored the signal", ask(p, unix.SIGUSR1), want)
			_, err = p.Sigaction(unix.SIGUSR2, &probe.Action{Handler: probe.Default})
			t.Must(err)
			t.Equal("the child's, after the parent set the default", ask(c, unix.SIGUSR2).Handler, probe.Ignore)
		},
	},
	{
		ID:     "pending-process",
		Claim:  "Signals that wait for the parent as a process don't wait for the child.",
		Source: "POSIX fork(); fork(2)",
		Check:  func(t *T) { checkPending(t, (*probe.Probe).Raise) },
	},
	{
		ID:     "pending-thread",
		Claim:  "Signals that wait for the thread that forks don't wait for the child.",
		Source: "POSIX fork(); fork(2)",
		Check:  func(t *T) { checkPending(t, (*probe.Probe).RaiseThread) },
	},
	{
		ID:     "pending-queue",
		Claim:  "The child has nothing of the queue of its parent's realtime signals.",
		Source: "POSIX fork(); signal(7)",
		Check: func(t *T) {
			const sig = 40
			p := t.Fork()
			p.block(sig)
			for range 3 {
				t.Must(p.Raise(sig))
			}
			c := p.Fork()
			take := func(p *Process) int { // how many are in the queue
				set, n := probe.Mask(sig), 0
				var none unix.Timespec
				for p.Errno(unix.SYS_RT_SIGTIMEDWAIT, &set, nil, &none, unsafe.Sizeof(set)) == 0 {
					n++
				}
				return n
			}
			t.Equal("the child's queue", take(c), 0)
			t.Equal("the parent's queue", take(p), 3)
		},
	},
	{
		ID:     "signal-one-process",
		Claim:  "A signal to the parent's pid is not the child's, and one to the process group is both's.",
		Source: "POSIX kill(); kill(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_SETSID)
			p.count(unix.SIGUSR1)
			c := p.Fork()
			p.Signal(unix.SIGUSR1)
			t.Equal("the parent has got", p.handled(unix.SIGUSR1), 1)
			t.Equal("the child has got", c.handled(unix.SIGUSR1), 0)
			t.Must(unix.Kill(-p.Pid(), unix.SIGUSR1))
			t.Equal("the parent has got, with one to the group", p.handled(unix.SIGUSR1), 2)
			t.Equal("the child has got, with one to the group", c.handled(unix.SIGUSR1), 1)
		},
	},
	{
		ID:     "alternate-stack",
		Claim:  "The child keeps its parent's alternate signal stack.",
		Source: "sigaltstack(2)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.Map(16*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1)
			p.Call(unix.SYS_SIGALTSTACK, &[3]uint64{uint64(addr), 0, uint64(16 * page)}, nil)
			c := p.Fork()
			var stack [3]uint64
			c.Call(unix.SYS_SIGALTSTACK, nil, &stack)
			t.Equal("the child's", stack[0], uint64(addr))
			const disable = 2
			c.Call(unix.SYS_SIGALTSTACK, &[3]uint64{0, disable, 0}, nil)
			p.Call(unix.SYS_SIGALTSTACK, nil, &stack)
			t.Equal("the parent's, after the child gave its own up", stack[0], uint64(addr))
		},
	},
	{
		ID:     "pdeathsig-cleared",
		Claim:  "The child does not inherit the signal for its parent's death.",
		Source: "fork(2); PR_SET_PDEATHSIG(2const)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGUSR1))
			c := p.Fork()
			ask := func(p *Process) int32 {
				sig := int32(-1)
				p.Call(unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, &sig)
				return sig
			}
			t.Equal("the parent's", ask(p), int32(unix.SIGUSR1))
			t.Equal("the child's", ask(c), int32(0))
		},
	},
	{
		ID:     "pdeathsig-sent",
		Claim:  "A child that asked for it gets the signal when its parent dies.",
		Source: "PR_SET_PDEATHSIG(2const)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGUSR1)
			asks, doesnt := p.Fork(), p.Fork()
			asks.Call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGUSR1))
			call := asks.Sleeps(unix.SYS_PPOLL, nil, 0, nil, nil, 0)
			p.EndAndReap()
			_, err := call.Wait()
			t.Equal("its call is interrupted", asks.errno(err), unix.EINTR)
			t.Equal("signals of the child that asked", asks.handled(unix.SIGUSR1), 1)
			t.Equal("signals of the child that didn't", doesnt.handled(unix.SIGUSR1), 0)
		},
	},
	{
		ID:     "pdeathsig-thread",
		Claim:  "That signal comes at the end of the thread that forked, while the process lives on.",
		Source: "PR_SET_PDEATHSIG(2const); golang/go#27505",
		Check: func(t *T) {
			var forked *probe.Probe
			var err error
			tid := 0
			ready, end, ended := make(chan bool), make(chan bool), make(chan bool)
			letEnd := sync.OnceFunc(func() { close(end); <-ended })
			t.Cleanup(letEnd)
			go func() {
				defer close(ended)
				onEndingThread(func() {
					forked, err = probe.Fork()
					tid = unix.Gettid()
					close(ready)
					<-end
				})
			}()
			<-ready
			t.Must(err)
			p := t.adopt(forked)
			p.SetTimeout(timeout)
			p.count(unix.SIGUSR1)
			p.Call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGUSR1))
			t.Equal("signals, while the thread runs", p.handled(unix.SIGUSR1), 0)
			call := p.Sleeps(unix.SYS_PPOLL, nil, 0, nil, nil, 0)
			letEnd()
			_, err = call.Wait()
			t.Equal("its call is interrupted", p.errno(err), unix.EINTR)
			t.Equal("signals, when the thread has ended", p.handled(unix.SIGUSR1), 1)
			t.True("the thread is another than the process", tid != os.Getpid(), tid)
			t.Equal("the child's parent lives", p.Call(unix.SYS_GETPPID), os.Getpid())
		},
	},
	{
		ID:     "fork-restarts",
		Claim:  "A signal with a handler doesn't make fork fail: no EINTR comes, with or without SA_RESTART.",
		Source: "fork(2): ERESTARTNOINTR; signal(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGALRM)
			interval := unix.Timeval{Usec: 100} // far shorter than a fork
			_, err := p.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Interval: interval, Value: interval})
			t.Must(err)
			errnos := map[syscall.Errno]int{}
			const forks = 20
			for range forks {
				errnos[p.TryFork()]++
			}
			n := p.handled(unix.SIGALRM)
			t.True("signals handled meanwhile", n > 0, n)
			t.Equal("errnos", errnos, map[syscall.Errno]int{0: forks})
		},
	},
	{
		ID: "sigchld-merge", Row: "C11",
		Claim:  "One SIGCHLD may stand for many children: a handler has to wait in a loop until nothing is left.",
		Source: "POSIX sigaction(), wait(); signal(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGCHLD)
			p.block(unix.SIGCHLD)
			const children = 5
			for range children {
				c := p.Fork()
				c.End(3)
				p.awaitChild(c, unix.WEXITED)
			}
			t.Equal("pending", p.pending(), signals(unix.SIGCHLD))
			p.unblock(unix.SIGCHLD)
			t.Equal("signals for 5 children", p.handled(unix.SIGCHLD), 1)
			reaped := 0
			for {
				pid, status, err := p.Wait4(-1, unix.WNOHANG)
				if err != nil {
					t.Equal("the loop's end", p.errno(err), unix.ECHILD)
					break
				}
				if pid == 0 || status.ExitStatus() != 3 {
					t.Fatal("wait4: pid %d, status %#x", pid, uint32(status))
				}
				reaped++
			}
			t.Equal("reaped by the loop", reaped, children)
		},
	},
	{
		ID: "sleep-goes-on", Row: "C11",
		Claim:  "A SIGCHLD interrupts the parent's sleep, which tells what is left, so that it can go on for its full time.",
		Source: "POSIX nanosleep(); nanosleep(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGCHLD)
			c := p.Fork()
			const full = 1000
			var left unix.Timespec
			call := p.Sleeps(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, &unix.Timespec{Sec: full}, &left)
			c.End(0)
			_, err := call.Wait()
			t.Equal("the sleep", p.errno(err), unix.EINTR)
			t.Equal("signals", p.handled(unix.SIGCHLD), 1)
			t.True("what is left", left.Sec > full/2 && left.Sec < full, left.Sec)
		},
	},
	{
		ID:     "sigchld-tells",
		Claim:  "The SIGCHLD of a child's end, stop or going on says which child, and how it changed.",
		Source: "POSIX sigaction(); sigaction(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.block(unix.SIGCHLD)
			c := p.Fork()
			told := func(what string, code, status int) {
				t.Equal(what, p.takeSignal(unix.SIGCHLD), info{unix.SIGCHLD, code, c.Pid(), status})
			}
			c.Signal(unix.SIGSTOP)
			told("stopped", probe.CldStopped, int(unix.SIGSTOP))
			c.Signal(unix.SIGCONT)
			told("goes on", probe.CldContinued, int(unix.SIGCONT))
			c.End(7)
			told("exited", probe.CldExited, 7)
			c = p.Fork()
			c.Signal(unix.SIGKILL)
			told("killed", probe.CldKilled, int(unix.SIGKILL))
		},
	},
	{
		ID:     "sigchld-nocldstop",
		Claim:  "With SA_NOCLDSTOP no SIGCHLD comes when a child stops or goes on, and it still comes at its end.",
		Source: "POSIX sigaction()",
		Check: func(t *T) {
			const saNoCldStop = 1
			p := t.Fork()
			_, err := p.Sigaction(unix.SIGCHLD, &probe.Action{Handler: probe.Count, Flags: saNoCldStop})
			t.Must(err)
			c := p.Fork()
			c.Signal(unix.SIGSTOP)
			p.awaitChild(c, unix.WSTOPPED)
			c.Signal(unix.SIGCONT)
			p.awaitChild(c, unix.WCONTINUED)
			t.Equal("signals, for stop and going on", p.handled(unix.SIGCHLD), 0)
			c.End(0)
			p.awaitChild(c, unix.WEXITED) // the end is to be seen before its signal is sent
			t.Equal("signals, for the end", p.handled(unix.SIGCHLD), 1)
		},
	},
}

// saRestart is SA_RESTART.
const saRestart = 0x10000000

// checkPending raises a blocked signal in a process that forks then.
func checkPending(t *T, raise func(*probe.Probe, syscall.Signal) error) {
	p := t.Fork()
	p.count(unix.SIGUSR1)
	p.block(unix.SIGUSR1)
	t.Must(raise(p.Probe, unix.SIGUSR1))
	c := p.Fork()
	t.Equal("what waits for the parent", p.pending(), signals(unix.SIGUSR1))
	t.Equal("what waits for the child", c.pending(), procstate.SignalSet(0))
	for _, p := range []*Process{p, c} {
		p.unblock(unix.SIGUSR1)
	}
	t.Equal("the parent has got, unblocked", p.handled(unix.SIGUSR1), 1)
	t.Equal("the child has got, unblocked", c.handled(unix.SIGUSR1), 0)
}

// signals is a set of signals.
func signals(sigs ...syscall.Signal) procstate.SignalSet {
	return procstate.SignalSet(probe.Mask(sigs...))
}

// unblock has the process unblock signals.
func (p *Process) unblock(sigs ...syscall.Signal) {
	_, err := p.Sigprocmask(unix.SIG_UNBLOCK, probe.Mask(sigs...))
	p.t.Must(err)
}

// info is what a signal tells of a child.
type info struct {
	Signal syscall.Signal
	Code   int
	Pid    int
	Status int
}

// takeSignal waits for a blocked signal and takes it.
func (p *Process) takeSignal(sig syscall.Signal) info {
	set := probe.Mask(sig)
	var raw unix.Siginfo
	ts := unix.NsecToTimespec(int64(timeout))
	p.Call(unix.SYS_RT_SIGTIMEDWAIT, &set, &raw, &ts, unsafe.Sizeof(set))
	i := (*struct{ signo, errno, code, _, pid, uid, status int32 })(unsafe.Pointer(&raw))
	return info{syscall.Signal(i.signo), int(i.code), int(i.pid), int(i.status)}
}

// awaitChild waits for a change of the child c and leaves it to be waited for.
func (p *Process) awaitChild(c *Process, change int) probe.Siginfo {
	info, err := p.Waitid(unix.P_PID, c.Pid(), change|unix.WNOWAIT)
	p.t.Must(err)
	return info
}

// sigset is a mask as x/sys has it.
func sigset(mask uint64) *unix.Sigset_t { return &unix.Sigset_t{Val: [16]uint64{mask}} }
