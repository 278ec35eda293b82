//go:build cgo && (amd64 || arm64)

package rules

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork/probe"
	"rawfork/procstate"
)

var sessionRules = []Rule{
	{
		ID:     "process-group",
		Claim:  "The child is in its parent's process group and session, until it makes its own.",
		Source: "POSIX fork(); setpgid(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_SETSID)
			c := p.Fork()
			ids := func(p *Process) []int { s := p.State(0); return []int{s.PGID, s.SID} }
			t.Equal("the child's group and session", ids(c), []int{p.Pid(), p.Pid()})
			c.Call(unix.SYS_SETPGID, 0, 0)
			t.Equal("the child's, after setpgid", ids(c), []int{c.Pid(), p.Pid()})
			t.Equal("the parent's, after that", ids(p), []int{p.Pid(), p.Pid()})
		},
	},
	{
		ID:     "session-leader",
		Claim:  "The child of a session or group leader is none, and so may begin a session where its parent may not.",
		Source: "POSIX setsid(); setsid(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_SETSID)
			c := p.Fork()
			t.Equal("the leader's setsid", p.Errno(unix.SYS_SETSID), unix.EPERM)
			t.Equal("the child's setsid", c.Call(unix.SYS_SETSID), c.Pid())
			t.Equal("the child's second", c.Errno(unix.SYS_SETSID), unix.EPERM)
			t.Equal("the parent's session, after that", p.Call(unix.SYS_GETSID, 0), p.Pid())
		},
	},
	{
		ID:     "setpgid-child",
		Claim:  "A parent may move its child to another group until the child has called exec.",
		Source: "POSIX setpgid(); setpgid(2)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			t.Equal("before exec", p.Errno(unix.SYS_SETPGID, c.Pid(), c.Pid()), success)
			t.Equal("the child's group", c.State(0).PGID, c.Pid())
			execed := p.Fork()
			t.Must(execed.Exec("/bin/sh", []string{"sh", "-c", "exec sleep 1000"}, nil))
			t.Equal("after exec", p.Errno(unix.SYS_SETPGID, execed.Pid(), execed.Pid()), unix.EACCES)
		},
	},
	{
		ID:     "terminal",
		Claim:  "The child has its parent's controlling terminal, until it begins a session.",
		Source: "POSIX fork(), setsid(); tty(4)",
		Check: func(t *T) {
			p := t.Fork()
			terminal, _ := p.terminal()
			c := p.Fork()
			tty := func(p *Process) syscall.Errno {
				fd, err := p.Syscall(unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/tty", unix.O_RDWR|unix.O_NOCTTY, 0)
				if err != nil {
					return p.errno(err)
				}
				t.Must(p.CloseFd(int(fd)))
				return 0
			}
			t.Equal("the child's terminal", c.State(0).TTY, terminal)
			t.Equal("the child opens /dev/tty", tty(c), success)
			c.Call(unix.SYS_SETSID)
			t.Equal("the child's terminal, after setsid", c.State(0).TTY, procstate.TTY(0))
			t.Equal("the child opens /dev/tty, after setsid", tty(c), unix.ENXIO)
			t.Equal("the parent's terminal, after that", p.State(0).TTY, terminal)
		},
	},
	{
		ID:     "terminal-signal",
		Claim:  "Ctrl-C goes to parent and child as long as both are in the terminal's foreground group.",
		Source: "POSIX, general terminal interface; termios(3)",
		Check: func(t *T) {
			p := t.Fork()
			_, master := p.terminal()
			p.count(unix.SIGINT)
			c := p.Fork()
			other := p.Fork()
			other.Call(unix.SYS_SETPGID, 0, 0)
			// The terminal takes its input in a moment of its own: those wait for it.
			waiting := []*probe.Call{p.Sleeps(unix.SYS_PPOLL, nil, 0, nil, nil, 0), c.Sleeps(unix.SYS_PPOLL, nil, 0, nil, nil, 0)}
			const ctrlC = "\x03"
			other.write(master, ctrlC)
			for _, call := range waiting {
				_, err := call.Wait()
				t.Equal("a wait is interrupted", p.errno(err), unix.EINTR)
			}
			for _, x := range []struct {
				name string
				p    *Process
				want int
			}{{"the parent", p, 1}, {"the child", c, 1}, {"a child in another group", other, 0}} {
				t.Equal("signals of "+x.name, x.p.handled(unix.SIGINT), x.want)
			}
		},
	},
	{
		ID:     "terminal-hangup",
		Claim:  "When the session's leader ends, its child in the foreground gets SIGHUP.",
		Source: "POSIX _exit(); setsid(2)",
		Check: func(t *T) {
			reaper := t.Fork()
			p := reaper.Fork()
			p.terminal()
			c := p.Fork()
			c.count(unix.SIGHUP)
			t.Equal("signals before", c.handled(unix.SIGHUP), 0)
			p.EndAndReap()
			t.Equal("signals after", c.handled(unix.SIGHUP), 1)
			t.Equal("its terminal then", c.State(0).TTY, procstate.TTY(0))
		},
	},
}

// terminal gives the process a session and a controlling terminal, a new one, whose
// master end it holds.
func (p *Process) terminal() (tty procstate.TTY, master int) {
	p.Call(unix.SYS_SETSID)
	master = p.Need("open /dev/ptmx", []syscall.Errno{unix.ENOENT}, unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	var number, unlock uint32
	p.Call(unix.SYS_IOCTL, master, unix.TIOCSPTLCK, &unlock)
	p.Call(unix.SYS_IOCTL, master, unix.TIOCGPTN, &number)
	slave, err := p.Open(fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR, 0)
	p.t.Must(err)
	p.Call(unix.SYS_IOCTL, slave, unix.TIOCSCTTY, 0)
	tty = p.State(0).TTY
	if tty == 0 {
		p.t.Fatal("process %d has no controlling terminal", p.Pid())
	}
	return tty, master
}
