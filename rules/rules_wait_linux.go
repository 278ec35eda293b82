//go:build cgo && (amd64 || arm64)

package rules

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork/probe"
)

var waitRules = []Rule{
	{
		ID: "exit-status", Row: "C9",
		Claim:  "Wait tells the parent the low 8 bits of the exit code, or the signal that ended the child.",
		Source: "POSIX wait(), _exit(); wait(2)",
		Check: func(t *T) {
			p := t.Fork()
			ended := func(end func(c *Process)) syscall.WaitStatus {
				c := p.Fork()
				end(c)
				return c.Status()
			}
			for _, code := range []int{0, 7, 255, 256 + 9} {
				status := ended(func(c *Process) { c.End(code) })
				t.Equal(fmt.Sprintf("exit(%d)", code), status.ExitStatus(), code&0xff)
			}
			for _, sig := range []syscall.Signal{unix.SIGKILL, unix.SIGTERM} {
				status := ended(func(c *Process) { c.Signal(sig) })
				t.Equal(fmt.Sprintf("ended by signal %d", sig), status.Signal(), sig)
				t.Equal(fmt.Sprintf("an exit status, after signal %d", sig), status.Exited(), false)
			}
		},
	},
	{
		ID: "system", Row: "C7",
		Claim:  "Fork, exec and wait run a program and give its exit code; until it ends the parent may go on and ask.",
		Source: "POSIX exec(), wait(), system()",
		Check: func(t *T) {
			p := t.Fork()
			in, feed, err := p.Pipe2(unix.O_CLOEXEC)
			t.Must(err)
			told, out, err := p.Pipe2(unix.O_CLOEXEC)
			t.Must(err)
			c := p.Fork()
			t.Equal("exec of what isn't there", c.errno(c.Exec("/nonexistent", []string{"x"}, nil)), unix.ENOENT)
			c.Call(unix.SYS_DUP3, in, 0, 0)
			c.Call(unix.SYS_DUP3, out, 1, 0)
			t.Must(c.Exec("/bin/sh", []string{"sh", "-c", "echo $A; read line; exit $line"}, []string{"A=from the program"}))
			t.Equal("what the program says", p.read(told, 100), "from the program\n")
			pid, _, err := p.Wait4(c.Pid(), unix.WNOHANG)
			t.Must(err)
			t.Equal("a wait that doesn't block, while it runs", pid, 0)
			p.write(feed, "3\n")
			t.Equal("the program's exit code", c.Status().ExitStatus(), 3)
		},
	},
	{
		ID: "zombie", Row: "C10",
		Claim:  "A child that has ended is a zombie, with its pid and status, until its parent waits for it.",
		Source: "POSIX _exit(), wait(); wait(2)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			t.Equal("state, alive", c.State(0).Run == "Z", false)
			c.End(7)
			s := c.State(0)
			t.Equal("state, ended", s.Run, "Z")
			t.Equal("its parent", s.PPID, p.Pid())
			t.Equal("a signal to it", unix.Kill(c.Pid(), 0), nil)
			t.Equal("its status", c.Status().ExitStatus(), 7)
			t.Equal("a signal to it, after the wait", unix.Kill(c.Pid(), 0), error(unix.ESRCH))
		},
	},
	{
		ID:     "zombie-holds-nothing",
		Claim:  "A zombie has given its memory and descriptors back.",
		Source: "POSIX _exit(); proc(5)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			c := p.Fork()
			t.Must(p.CloseFd(w))
			t.Equal("its memory before, in pages", rssOf(c) > 0, true)
			c.End(0)
			t.Equal("its memory", rssOf(c), 0)
			t.Equal("the pipe that it alone could write to", p.read(r, 1), "")
		},
	},
	{
		ID:     "status-once",
		Claim:  "A status is given out once: a second wait finds no child.",
		Source: "POSIX wait()",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			c.End(5)
			pid, status, err := p.Wait4(c.Pid(), 0)
			t.Must(err)
			t.Equal("the first wait's pid", pid, c.Pid())
			t.Equal("the first wait's status", status.ExitStatus(), 5)
			_, _, err = p.Wait4(c.Pid(), 0)
			t.Equal("the second wait", p.errno(err), unix.ECHILD)
			_, _, err = p.Wait4(-1, 0)
			t.Equal("a wait for any child", p.errno(err), unix.ECHILD)
		},
	},
	{
		ID: "wait-nohang", Row: "C12",
		Claim:  "A server that asks with WNOHANG in its own loop reaps who has ended and never blocks on who has not.",
		Source: "POSIX waitpid(); wait(2)",
		Check: func(t *T) {
			p := t.Fork()
			first, second := p.Fork(), p.Fork()
			poll := func() string {
				pid, status, err := p.Wait4(-1, unix.WNOHANG)
				switch {
				case err != nil:
					return p.errno(err).Error()
				case pid == 0:
					return "nothing"
				case pid == first.Pid():
					return fmt.Sprintf("first, status %d", status.ExitStatus())
				}
				return fmt.Sprintf("second, status %d", status.ExitStatus())
			}
			t.Equal("both run", poll(), "nothing")
			second.End(2)
			t.Equal("the second has ended", poll(), "second, status 2")
			t.Equal("the first runs", poll(), "nothing")
			first.End(1)
			t.Equal("the first has ended", poll(), "first, status 1")
			t.Equal("no child is left", poll(), unix.ECHILD.Error())
		},
	},
	{
		ID:     "wait-blocks",
		Claim:  "Without WNOHANG wait blocks until a child ends.",
		Source: "POSIX wait()",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			call := p.Sleeps(unix.SYS_WAIT4, c.Pid(), nil, 0, nil)
			c.End(0)
			pid, err := call.Wait()
			t.Must(err)
			t.Equal("the pid", int(pid), c.Pid())
		},
	},
	{
		ID:     "wait-nowait",
		Claim:  "WNOWAIT tells of a child and leaves it to be waited for again.",
		Source: "POSIX waitid(); wait(2)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			c.End(6)
			for range 2 {
				info := p.awaitChild(c, unix.WEXITED)
				t.Equal("what is told", []int{info.Code, info.Pid, info.Status}, []int{probe.CldExited, c.Pid(), 6})
			}
			t.Equal("state, after that", c.State(0).Run, "Z")
			t.Equal("the wait's status", c.Status().ExitStatus(), 6)
		},
	},
	{
		ID:     "wait-stopped",
		Claim:  "Wait tells of a child that stops only with WUNTRACED, and of one that goes on only with WCONTINUED.",
		Source: "POSIX waitpid(); wait(2)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			ask := func(options int) (int, syscall.WaitStatus) {
				pid, status, err := p.Wait4(c.Pid(), options|unix.WNOHANG)
				t.Must(err)
				return pid, status
			}
			c.Signal(unix.SIGSTOP)
			p.awaitChild(c, unix.WSTOPPED)
			pid, _ := ask(0)
			t.Equal("stopped, without WUNTRACED", pid, 0)
			pid, status := ask(unix.WUNTRACED)
			t.Equal("stopped, with WUNTRACED", pid, c.Pid())
			t.Equal("by the signal", status.StopSignal(), unix.SIGSTOP)
			pid, _ = ask(unix.WUNTRACED)
			t.Equal("stopped, a second time", pid, 0)
			c.Signal(unix.SIGCONT)
			p.awaitChild(c, unix.WCONTINUED)
			pid, _ = ask(0)
			t.Equal("going on, without WCONTINUED", pid, 0)
			pid, status = ask(unix.WCONTINUED)
			t.Equal("going on, with WCONTINUED", pid, c.Pid())
			t.Equal("the status says so", status.Continued(), true)
		},
	},
	{
		ID:     "stop-own",
		Claim:  "A stopped parent doesn't stop its child, nor does a stopped child its parent.",
		Source: "POSIX kill(); signal(7)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			p.Signal(unix.SIGSTOP)
			t.Must(os.NewSyscallError("waitid", ignoringEINTR(func() error {
				return unix.Waitid(unix.P_PID, p.Pid(), nil, unix.WSTOPPED|unix.WNOWAIT, nil)
			})))
			t.Equal("the child answers", c.Call(unix.SYS_GETPPID), p.Pid())
			p.Signal(unix.SIGCONT)
			c.Signal(unix.SIGSTOP)
			p.awaitChild(c, unix.WSTOPPED)
			t.Equal("the parent answers", p.Call(unix.SYS_GETPID), p.Pid())
		},
	},
	{
		ID:     "wait-group",
		Claim:  "Wait for a process group sees the children that are in it, and no others.",
		Source: "POSIX waitpid(), waitid(); wait(2)",
		Check: func(t *T) {
			p := t.Fork()
			in, out := p.Fork(), p.Fork()
			in.Call(unix.SYS_SETPGID, 0, 0)
			in.End(1)
			out.End(2)
			_, _, err := p.Wait4(-out.Pid(), 0)
			t.Equal("a group that no child is in", p.errno(err), unix.ECHILD)
			info, err := p.Waitid(unix.P_PGID, in.Pid(), unix.WEXITED|unix.WNOWAIT)
			t.Must(err)
			t.Equal("waitid's pid", info.Pid, in.Pid())
			pid, _, err := p.Wait4(-in.Pid(), 0)
			t.Must(err)
			t.Equal("wait4's pid", pid, in.Pid())
			pid, _, err = p.Wait4(0, 0)
			t.Must(err)
			t.Equal("the parent's own group", pid, out.Pid())
		},
	},
	{
		ID:     "wait-own-children",
		Claim:  "A process waits for its own children only: not for a child's child, a sibling or its parent.",
		Source: "POSIX wait()",
		Check: func(t *T) {
			p := t.Fork()
			c, sibling := p.Fork(), p.Fork()
			g := c.Fork()
			wait := func(who, whom *Process) syscall.Errno {
				return who.Errno(unix.SYS_WAIT4, whom.Pid(), nil, unix.WNOHANG, nil)
			}
			t.Equal("a child", wait(p, c), success)
			t.Equal("a child's child", wait(p, g), unix.ECHILD)
			t.Equal("a sibling", wait(c, sibling), unix.ECHILD)
			t.Equal("the parent", wait(c, p), unix.ECHILD)
		},
	},
	{
		ID:     "wait-any-thread",
		Claim:  "Any thread of the parent may wait for the child that another forked, except with __WNOTHREAD.",
		Source: "wait(2)",
		Check: func(t *T) {
			var forked *probe.Probe
			var err, own, other, either error
			wait := func(options int) error {
				_, err := unix.Wait4(forked.Pid(), nil, options|unix.WNOHANG, nil)
				return err
			}
			onEndingThread(func() {
				if forked, err = probe.Fork(); err == nil {
					own = wait(unix.WNOTHREAD)
					onEndingThread(func() { other, either = wait(unix.WNOTHREAD), wait(0) })
				}
			})
			t.Must(err)
			t.adopt(forked)
			t.Equal("the thread that forked, with __WNOTHREAD", own, nil)
			t.Equal("another thread, with __WNOTHREAD", other, error(unix.ECHILD))
			t.Equal("another thread, without", either, nil)
		},
	},
	{
		ID:     "sigchld-ignored",
		Claim:  "Children of a process that ignores SIGCHLD leave no zombie, and wait returns ECHILD when the last has ended.",
		Source: "POSIX _exit(), wait(); wait(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.ignore(unix.SIGCHLD)
			first, second := p.Fork(), p.Fork()
			first.End(0)
			t.Equal("wait for one that has ended", p.Errno(unix.SYS_WAIT4, first.Pid(), nil, 0, nil), unix.ECHILD)
			call := p.Sleeps(unix.SYS_WAIT4, -1, nil, 0, nil)
			second.End(0)
			_, err := call.Wait()
			t.Equal("wait for any, when the last has ended", p.errno(err), unix.ECHILD)
		},
	},
	{
		ID:     "nocldwait",
		Claim:  "With SA_NOCLDWAIT children leave no zombie either, and SIGCHLD still comes.",
		Source: "POSIX sigaction(); sigaction(2)",
		Check: func(t *T) {
			const saNoCldWait = 2
			p := t.Fork()
			_, err := p.Sigaction(unix.SIGCHLD, &probe.Action{Handler: probe.Count, Flags: saNoCldWait | saRestart})
			t.Must(err)
			c := p.Fork()
			c.End(0)
			t.Equal("wait for the child", p.Errno(unix.SYS_WAIT4, c.Pid(), nil, 0, nil), unix.ECHILD)
			t.Equal("signals", p.handled(unix.SIGCHLD), 1)
		},
	},
	{
		ID: "orphan", Row: "C13",
		Claim:  "A child whose parent ends first is given to the nearest subreaper, which reaps it.",
		Source: "POSIX _exit(); PR_SET_CHILD_SUBREAPER(2const)",
		Check: func(t *T) {
			reaper := t.Fork()
			reaper.Call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
			p := reaper.Fork().Fork()
			c := p.Fork()
			t.Equal("the parent before", c.Call(unix.SYS_GETPPID), p.Pid())
			p.EndAndReap()
			t.Equal("the parent after", c.Call(unix.SYS_GETPPID), reaper.Pid())
			c.End(4)
			pid, status, err := reaper.Wait4(c.Pid(), 0)
			t.Must(err)
			t.Equal("reaped by it", pid, c.Pid())
			t.Equal("with the status", status.ExitStatus(), 4)
		},
	},
	{
		ID: "orphan-init", Row: "C13",
		Claim:  "Without a subreaper an orphan is given to init, pid 1 of its namespace.",
		Source: "POSIX _exit(); pid_namespaces(7)",
		Check: func(t *T) {
			init := t.pidNamespace()
			p := init.Fork().Fork()
			c := p.Fork()
			t.Equal("the parent before", c.Call(unix.SYS_GETPPID), p.Call(unix.SYS_GETPID))
			p.EndAndReap()
			t.Equal("the parent after", c.Call(unix.SYS_GETPPID), 1)
			pid := c.Call(unix.SYS_GETPID)
			c.End(0)
			t.Equal("reaped by init", init.Call(unix.SYS_WAIT4, pid, nil, 0, nil), pid)
		},
	},
	{
		ID:     "orphan-zombie",
		Claim:  "A zombie whose parent ends unreaped is given to the subreaper too.",
		Source: "POSIX _exit(); wait(2)",
		Check: func(t *T) {
			reaper := t.Fork()
			reaper.Call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
			p := reaper.Fork()
			c := p.Fork()
			c.End(9)
			t.Equal("the subreaper waits before", reaper.Errno(unix.SYS_WAIT4, c.Pid(), nil, unix.WNOHANG, nil), unix.ECHILD)
			p.EndAndReap()
			pid, status, err := reaper.Wait4(c.Pid(), 0)
			t.Must(err)
			t.Equal("after", []int{pid, status.ExitStatus()}, []int{c.Pid(), 9})
		},
	},
	{
		ID:     "subreaper-not-inherited",
		Claim:  "The child of a subreaper is none.",
		Source: "PR_SET_CHILD_SUBREAPER(2const)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
			c := p.Fork()
			ask := func(p *Process) int32 {
				is := int32(-1)
				p.Call(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, &is)
				return is
			}
			t.Equal("the parent is one", ask(p), int32(1))
			t.Equal("the child is one", ask(c), int32(0))
		},
	},
	{
		ID:     "pidfd",
		Claim:  "A pidfd of the child becomes readable at its end, waits for it, and sends it signals until it is reaped.",
		Source: "pidfd_open(2); waitid(2); pidfd_send_signal(2)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			fd := p.Need("pidfd_open", nil, unix.SYS_PIDFD_OPEN, c.Pid(), 0)
			t.Equal("readable, while it runs", p.readable(fd), false)
			t.Equal("a signal to it", p.Errno(unix.SYS_PIDFD_SEND_SIGNAL, fd, 0, nil, 0), success)
			c.End(8)
			t.Equal("readable, when it has ended", p.poll(fd, timeout), true)
			info, err := p.Waitid(unix.P_PIDFD, fd, unix.WEXITED)
			t.Must(err)
			t.Equal("the wait", []int{info.Pid, info.Status}, []int{c.Pid(), 8})
			t.Equal("a signal to it, reaped", p.Errno(unix.SYS_PIDFD_SEND_SIGNAL, fd, 0, nil, 0), unix.ESRCH)
		},
	},
	{
		ID:     "pidfd-no-reuse",
		Claim:  "A pidfd never reaches a later process of the same pid, which a pid does.",
		Source: "pidfd_open(2); pidfd_send_signal(2)",
		Check: func(t *T) {
			init := t.pidNamespace()
			c := init.Fork()
			number := c.Call(unix.SYS_GETPID)
			fd := init.Need("pidfd_open", nil, unix.SYS_PIDFD_OPEN, number, 0)
			c.EndAndReap()
			init.nextPID(number)
			later := init.Fork()
			t.Equal("the later process's pid", later.Call(unix.SYS_GETPID), number)
			t.Equal("kill", init.Errno(unix.SYS_KILL, number, 0), success)
			t.Equal("by the pidfd", init.Errno(unix.SYS_PIDFD_SEND_SIGNAL, fd, 0, nil, 0), unix.ESRCH)
		},
	},
	{
		ID:     "pidfd-others",
		Claim:  "The child has its parent's pidfds, but waits with them for its own children only.",
		Source: "waitid(2); pidfd_open(2)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			fd := p.Need("pidfd_open", nil, unix.SYS_PIDFD_OPEN, c.Pid(), 0)
			sibling := p.Fork()
			c.End(0)
			t.Equal("it is readable for the sibling", sibling.poll(fd, timeout), true)
			t.Equal("the sibling's wait", sibling.Errno(unix.SYS_WAITID, unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil), unix.ECHILD)
			t.Equal("the parent's wait", p.Errno(unix.SYS_WAITID, unix.P_PIDFD, fd, nil, unix.WEXITED, nil), success)
		},
	},
	{
		ID:     "signal-without-parent",
		Claim:  "A parent's death by a signal ends none of its children.",
		Source: "POSIX _exit()",
		Check: func(t *T) {
			reaper := t.Fork()
			reaper.Call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
			p := reaper.Fork()
			c := p.Fork()
			p.Signal(unix.SIGKILL)
			t.Equal("how the parent ended", p.Status().Signal(), unix.SIGKILL)
			t.Equal("the child answers", c.Call(unix.SYS_GETPID), c.Pid())
		},
	},
	{
		ID:     "orphaned-group",
		Claim:  "When its parent's end orphans a process group with a stopped member, its members get SIGHUP and SIGCONT.",
		Source: "POSIX _exit(); setpgid(2)",
		Check: func(t *T) {
			session := t.Fork()
			session.Call(unix.SYS_SETSID)
			p := session.Fork()
			p.Call(unix.SYS_SETPGID, 0, 0)
			c := p.Fork()
			c.Call(unix.SYS_SETPGID, 0, 0)
			c.count(unix.SIGHUP, unix.SIGCONT)
			c.Signal(unix.SIGSTOP)
			p.awaitChild(c, unix.WSTOPPED)
			p.EndAndReap()
			t.Equal("it goes on and answers", c.Call(unix.SYS_GETPID), c.Pid())
			t.Equal("SIGHUP", c.handled(unix.SIGHUP), 1)
			t.Equal("SIGCONT", c.handled(unix.SIGCONT), 1)
		},
	},
}

// rssOf is how many pages of memory a process has.
func rssOf(p *Process) int {
	const rss = 24 // in proc_pid_stat(5), which counts from 1
	return p.stat(rss)
}
