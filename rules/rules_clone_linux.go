//go:build cgo && (amd64 || arm64)

package rules

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/probe"
	"rawfork/rules/internal/posix"
)

var cloneRules = []Rule{
	{
		ID:     "nothing-shared",
		Claim:  "Fork shares neither memory, descriptor table, directories, handlers, I/O context nor semaphore adjustments.",
		Source: "fork(2); clone(2); kcmp(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_IOPRIO_SET, 1, 0, 2<<13|6) // so that there is an I/O context
			p.semop(p.semaphore(5), -1, semUndo)       // and a list of adjustments
			c := p.Fork()
			for _, kind := range []struct {
				name string
				kind int
			}{{"memory", kcmpVM}, {"descriptor table", kcmpFiles}, {"directories", kcmpFS}, {"handlers", kcmpSighand},
				{"I/O context", kcmpIO}, {"semaphore adjustments", kcmpSysvsem}} {
				t.Equal(kind.name+" is shared with itself", p.compare(p, kind.kind, 0, 0), 0)
				t.Equal(kind.name+" is shared with the child", p.compare(c, kind.kind, 0, 0) == 0, false)
			}
		},
	},
	{
		ID:     "exit-signal",
		Claim:  "The child of fork sends SIGCHLD at its end; clone may ask for another signal.",
		Source: "fork(2); clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGCHLD, unix.SIGUSR1)
			c := p.Fork()
			t.Equal("the exit signal of fork's child", int(c.State(0).ExitSignal), int(unix.SIGCHLD))
			c.End(0)
			p.awaitChild(c, unix.WEXITED)
			t.Equal("SIGCHLD, after fork's child", p.handled(unix.SIGCHLD), 1)
			c = p.CloneSignal(0, unix.SIGUSR1)
			c.End(0)
			p.awaitChild(c, unix.WEXITED|unix.WALL)
			t.Equal("SIGUSR1, after clone's child", p.handled(unix.SIGUSR1), 1)
			t.Equal("SIGCHLD, after clone's child", p.handled(unix.SIGCHLD), 1)
		},
	},
	{
		ID:     "clone-children",
		Claim:  "A child that sends another signal is waited for only with __WCLONE or __WALL; fork's child only without __WCLONE.",
		Source: "wait(2); clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			wait := func(c *Process, options int) syscall.Errno {
				return p.Errno(unix.SYS_WAIT4, c.Pid(), nil, options|unix.WNOHANG, nil)
			}
			forked, cloned := p.Fork(), p.CloneSignal(0, 0)
			t.Equal("fork's child", wait(forked, 0), success)
			t.Equal("fork's child, with __WCLONE", wait(forked, unix.WCLONE), unix.ECHILD)
			t.Equal("fork's child, with __WALL", wait(forked, unix.WALL), success)
			t.Equal("clone's child", wait(cloned, 0), unix.ECHILD)
			t.Equal("clone's child, with __WCLONE", wait(cloned, unix.WCLONE), success)
			t.Equal("clone's child, with __WALL", wait(cloned, unix.WALL), success)
		},
	},
	{
		ID:     "vfork-holds",
		Claim:  "Vfork holds the parent until the child ends or execs; fork doesn't hold it.",
		Source: "vfork(2); clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Fork()
			t.Equal("the parent answers, after fork", p.Call(unix.SYS_GETPID), p.Pid())
			for _, how := range []string{"ends", "execs"} {
				c := p.Clone(unix.CLONE_VFORK)
				t.Equal("the call in which the parent is, until the child "+how, t.sleepingIn(p.Pid()), unix.SYS_CLONE)
				t.Equal("the child answers meanwhile", c.Call(unix.SYS_GETPPID), p.Pid())
				if how == "ends" {
					c.End(0)
				} else {
					t.Must(c.Exec("/bin/sh", []string{"sh", "-c", "exec sleep 1000"}, nil))
				}
				t.Equal("the parent answers, when the child "+how, p.Call(unix.SYS_GETPID), p.Pid())
			}
		},
	},
	{
		ID:     "vfork-memory",
		Claim:  "Vfork's child runs in its parent's memory, while the parent is held until the child ends; fork's has memory of its own.",
		Source: "vfork(2); clone(2)",
		Check: func(t *T) {
			t.Equal("fork's child wrote to the parent's memory", t.cloned(0, nil).Memory, false)
			seen := t.cloned(unix.CLONE_VM|unix.CLONE_VFORK, func(parent int) {
				t.Equal("the call in which the parent is, until the child ends", t.sleepingIn(parent), unix.SYS_CLONE)
			})
			t.Equal("vfork's child wrote to the parent's memory", seen.Memory, true)
			t.Equal("the parent went on at the child's end", seen.Held, true)
			t.Equal("the parent's handlers are the child's", seen.Handler, false)
			t.Equal("whose child it is", seen.Parent, posix.Child)
			t.Equal("the parent's wait for it", seen.Wait, success)
		},
	},
	{
		ID:     "clone-vm",
		Claim:  "With CLONE_VM memory is shared: what one writes or unmaps is so for the other, but handlers and mask are each one's own.",
		Source: "clone(2)",
		Check: func(t *T) {
			forked, cloned := t.cloned(0, nil), t.cloned(unix.CLONE_VM, nil)
			t.Equal("the parent has what fork's child wrote", forked.Memory, false)
			t.Equal("the parent has what clone's child wrote", cloned.Memory, true)
			t.Equal("the parent has the page that fork's child unmapped", forked.Mapping, true)
			t.Equal("the parent has the page that clone's child unmapped", cloned.Mapping, false)
			t.Equal("the parent ignores what clone's child ignores", cloned.Handler, false)
			t.Equal("the parent has the mask that clone's child set", cloned.Mask, false)
			t.Equal("clone's child is a process of its own", !cloned.SamePid, true)
		},
	},
	{
		ID:     "clone-sighand",
		Claim:  "With CLONE_SIGHAND handlers are shared: what one sets is so for the other, but masks are each one's own.",
		Source: "clone(2)",
		Check: func(t *T) {
			forked, cloned := t.cloned(0, nil), t.cloned(unix.CLONE_VM|unix.CLONE_SIGHAND, nil)
			t.Equal("the parent ignores what fork's child ignores", forked.Handler, false)
			t.Equal("the parent ignores what clone's child ignores", cloned.Handler, true)
			t.Equal("the parent has the mask that clone's child set", cloned.Mask, false)
			t.Equal("clone's child is a process of its own", !cloned.SamePid, true)
		},
	},
	{
		ID:     "clone-thread",
		Claim:  "With CLONE_THREAD the new one is a thread of its maker: of the same pid and parent, with an id and a mask of its own, and not waited for; its end clears a word.",
		Source: "clone(2); set_tid_address(2)",
		Check: func(t *T) {
			forked, cloned := t.cloned(0, nil), t.cloned(unix.CLONE_VM|unix.CLONE_SIGHAND|unix.CLONE_THREAD, nil)
			for _, x := range []struct {
				name   string
				seen   posix.Cloned
				same   bool
				parent posix.Relation
				wait   syscall.Errno
			}{{"fork's child", forked, false, posix.Child, success}, {"the thread", cloned, true, posix.Sibling, unix.ECHILD}} {
				t.Equal("the maker's pid is that of "+x.name, x.seen.SamePid, x.same)
				t.Equal("the maker's thread id is that of "+x.name, x.seen.SameTid, false)
				t.Equal("what getppid says in "+x.name+": the maker, or the maker's parent", x.seen.Parent, x.parent)
				t.Equal("the maker's wait, after the end of "+x.name, x.seen.Wait, x.wait)
			}
			t.Equal("the maker's mask is that of the thread", cloned.Mask, false)
			t.Equal("the word is cleared at the thread's end", cloned.Cleared, true)
		},
	},
	{
		ID:     "clone-parent",
		Claim:  "With CLONE_PARENT the new process is a sibling: its parent waits for it and gets its signal, not the one that made it.",
		Source: "clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGCHLD)
			maker := p.Fork()
			c := maker.Clone(unix.CLONE_PARENT)
			t.Equal("its parent", c.Call(unix.SYS_GETPPID), p.Pid())
			t.Equal("the maker's wait", maker.Errno(unix.SYS_WAIT4, -1, nil, unix.WNOHANG, nil), unix.ECHILD)
			c.End(3)
			p.awaitChild(c, unix.WEXITED)
			t.Equal("signals of the parent", p.handled(unix.SIGCHLD), 1)
			t.Equal("signals of the maker", maker.handled(unix.SIGCHLD), 0)
			pid, status, err := p.Wait4(c.Pid(), 0)
			t.Must(err)
			t.Equal("the parent's wait", []int{pid, status.ExitStatus()}, []int{c.Pid(), 3})
		},
	},
	{
		ID:     "clone-files",
		Claim:  "With CLONE_FILES the descriptor table is shared: what one opens or closes, the other has or lacks.",
		Source: "clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			for _, x := range []struct {
				name string
				c    *Process
				want syscall.Errno
			}{{"fork's child", p.Fork(), success}, {"clone's child", p.Clone(unix.CLONE_FILES), unix.EBADF}} {
				t.Must(x.c.CloseFd(r))
				t.Equal("the parent's descriptor, closed by "+x.name, p.Errno(unix.SYS_FCNTL, r, unix.F_GETFD), x.want)
			}
			_ = w
		},
	},
	{
		ID:     "clone-fs",
		Claim:  "With CLONE_FS working directory, root and umask are shared.",
		Source: "clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			t.Must(p.Chdir("/"))
			p.Call(unix.SYS_UMASK, 0o22)
			for _, x := range []struct {
				name string
				c    *Process
				cwd  string
				mask int
			}{{"fork's child", p.Fork(), "/", 0o22}, {"clone's child", p.Clone(unix.CLONE_FS), "/proc", 0o77}} {
				t.Must(x.c.Chdir("/proc"))
				x.c.Call(unix.SYS_UMASK, 0o77)
				s := p.State(0)
				t.Equal("the parent's directory, after "+x.name+" moved", s.Cwd.Name, x.cwd)
				t.Equal("the parent's umask, after "+x.name+" set one", int(s.Umask), x.mask)
			}
		},
	},
	{
		ID:     "clone-io",
		Claim:  "With CLONE_IO the I/O context, and with it the I/O priority, is shared.",
		Source: "clone(2); ioprio_set(2)",
		Check: func(t *T) {
			const who, bestEffort = 1, 2 << 13
			p := t.Fork()
			p.Need("ioprio_set", nil, unix.SYS_IOPRIO_SET, who, 0, bestEffort|6)
			forked, cloned := p.Fork(), p.Clone(unix.CLONE_IO)
			forked.Call(unix.SYS_IOPRIO_SET, who, 0, bestEffort|5)
			t.Equal("the parent's priority, after fork's child set its own", p.Call(unix.SYS_IOPRIO_GET, who, 0), bestEffort|6)
			cloned.Call(unix.SYS_IOPRIO_SET, who, 0, bestEffort|7)
			t.Equal("the parent's priority, after clone's child set it", p.Call(unix.SYS_IOPRIO_GET, who, 0), bestEffort|7)
		},
	},
	{
		ID:     "clone-sysvsem",
		Claim:  "With CLONE_SYSVSEM semaphore adjustments are shared, and undone when the last of those that share them ends.",
		Source: "clone(2); semop(2)",
		Check: func(t *T) {
			watcher := t.Fork()
			id := watcher.semaphore(5)
			p := watcher.Fork()
			c := p.Clone(unix.CLONE_SYSVSEM)
			t.Equal("the child takes 2, to be undone", c.semop(id, -2, semUndo), success)
			c.EndAndReap()
			t.Equal("the value after the child's end", watcher.semval(id), 3)
			p.EndAndReap()
			t.Equal("the value after the parent's end too", watcher.semval(id), 5)
		},
	},
	{
		ID:     "clear-handlers",
		Claim:  "With CLONE_CLEAR_SIGHAND the child's handlers are at their defaults, ignored signals stay ignored; fork keeps both.",
		Source: "clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGUSR1)
			p.ignore(unix.SIGUSR2)
			handlers := func(p *Process) []probe.Disposition {
				first, err := p.Sigaction(unix.SIGUSR1, nil)
				t.Must(err)
				second, err := p.Sigaction(unix.SIGUSR2, nil)
				t.Must(err)
				return []probe.Disposition{first.Handler, second.Handler}
			}
			t.Equal("fork's child", handlers(p.Fork()), []probe.Disposition{probe.Count, probe.Ignore})
			c := p.Clone(unix.CLONE_CLEAR_SIGHAND)
			t.Equal("clone's child", handlers(c), []probe.Disposition{probe.Default, probe.Ignore})
			t.Equal("the parent, after that", handlers(p), []probe.Disposition{probe.Count, probe.Ignore})
		},
	},
	{
		ID:     "clone-invalid",
		Claim:  "Flags that need each other are refused: handlers without memory, threads without handlers, two contrary ones.",
		Source: "clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			for _, x := range []struct {
				name  string
				flags int
			}{{"CLONE_SIGHAND without CLONE_VM", unix.CLONE_SIGHAND}, {"CLONE_THREAD without CLONE_SIGHAND", unix.CLONE_THREAD},
				{"CLONE_NEWNS with CLONE_FS", unix.CLONE_NEWNS | unix.CLONE_FS}, {"CLONE_NEWIPC with CLONE_SYSVSEM", unix.CLONE_NEWIPC | unix.CLONE_SYSVSEM}} {
				t.Equal(x.name, p.Errno(unix.SYS_CLONE, x.flags|int(unix.SIGCHLD), 0, 0, 0, 0), unix.EINVAL)
			}
			t.Equal("children", p.Errno(unix.SYS_WAIT4, -1, nil, unix.WNOHANG, nil), unix.ECHILD)
		},
	},
	{
		ID:     "clear-tid",
		Claim:  "The address that the kernel clears at a thread's end is not passed on: a child without flags has none, one with CLONE_CHILD_CLEARTID the one that it is given.",
		Source: "set_tid_address(2); clone(2)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(1)
			p.Call(unix.SYS_SET_TID_ADDRESS, addr)
			address := func(p *Process) uint64 {
				var addr uint64
				p.Need("PR_GET_TID_ADDRESS", []syscall.Errno{unix.EINVAL}, unix.SYS_PRCTL, unix.PR_GET_TID_ADDRESS, &addr)
				return addr
			}
			t.Equal("the parent's", address(p), uint64(addr))
			t.Equal("that of a child without flags", address(p.Clone(0)), uint64(0))
			c := p.Fork() // by child.Fork, which gives the child its parent's
			t.Equal("that of a child with the flag", address(c), uint64(addr))
			tid := int32(c.Pid())
			t.Equal("the child's thread id is there, by CLONE_CHILD_SETTID", c.Bytes(addr, 4), string(bytesOf(&tid)))
		},
	},
}

// cloned has a process call clone(2) with the flags and SIGCHLD, and returns what it
// sees of the new one. Meanwhile, if not nil, is called with its pid while the new one
// waits.
func (t *T) cloned(flags uintptr, meanwhile func(pid int)) posix.Cloned {
	in, begin := t.pipe()
	told, out := t.pipe()
	if flags&unix.CLONE_THREAD == 0 { // a thread's end sends no signal
		flags |= uintptr(unix.SIGCHLD)
	}
	pid, err := posix.Clone(flags, int(in.Fd()), int(out.Fd()))
	t.Must(err)
	t.reapLater(pid)
	t.onInterrupt(func() { unix.Kill(pid, unix.SIGKILL) })
	out.Close()
	var begun [1]byte
	if _, err := io.ReadFull(told, begun[:]); err == io.EOF {
		status, err := rawfork.Wait(pid)
		t.Must(err)
		t.Must(os.NewSyscallError("clone", syscall.Errno(status.ExitStatus())))
	} else {
		t.Must(err)
	}
	if meanwhile != nil {
		meanwhile(pid)
	}
	begin.Close()
	seen, err := posix.ReadCloned(told)
	t.Must(err)
	return seen
}

// sleepingIn waits until the process sleeps, in whatever call, and returns its number.
// Nothing tells that a process has gone to sleep, so /proc is asked until it has; the
// process itself can't say it, nor can one that traces it: only calls are traced.
func (t *T) sleepingIn(pid int) (trap int) {
	for over := time.Now().Add(timeout); time.Now().Before(over); {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			t.Skip("%v", err)
		}
		t.Must(err)
		if !strings.HasPrefix(string(text), "running") {
			_, err := fmt.Sscan(string(text), &trap)
			t.Must(err)
			return trap
		}
	}
	t.Fatal("process %d doesn't sleep", pid)
	return 0
}
