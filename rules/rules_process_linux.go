//go:build cgo && (amd64 || arm64)

package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/procstate"
)

var processRules = []Rule{
	{
		ID: "returns-twice", Row: "C2",
		Claim:  "Fork returns the child's pid in the parent and 0 in the child, and both go on right after the call.",
		Source: "POSIX fork()",
		Check: func(t *T) {
			r, w := t.pipe()
			returned := new([2]int32)
			fd := int(w.Fd())
			pid, err := rawfork.Fork()
			if pid == 0 && err == nil {
				returned[0], returned[1] = int32(pid), int32(child.Getpid())
				child.Write(fd, bytesOf(returned))
				child.Exit(done)
			}
			t.Must(err)
			t.reapLater(pid)
			w.Close()
			t.readAll(r, bytesOf(returned))
			t.Equal("what the child got", returned[0], int32(0))
			t.Equal("what the parent got, and the child's own pid", pid, int(returned[1]))
		},
	},
	{
		ID: "caller-forks", Row: "C4",
		Claim:  "A function that calls fork returns twice itself, with the caller's variables in both processes.",
		Source: "POSIX fork()",
		Check: func(t *T) {
			local := 40
			pid, err := forkInFunction()
			local++
			if pid == 0 && err == nil {
				local++
				child.Exit(local)
			}
			t.Must(err)
			status, err := rawfork.Wait(pid)
			t.Must(err)
			t.Equal("the child's variable", status.ExitStatus(), 42)
			t.Equal("the parent's variable", local, 41)
		},
	},
	{
		ID: "last-line-twice", Row: "C5",
		Claim:  "What stands before the fork is done once; what stands after it, once by each process.",
		Source: "POSIX fork()",
		Check: func(t *T) {
			r, w := t.pipe()
			fd := int(w.Fd())
			child.WriteString(fd, "before\n")
			pid, err := rawfork.Fork()
			if pid == 0 && err == nil {
				child.WriteString(fd, "child\n")
			} else {
				child.WriteString(fd, "parent\n")
			}
			child.WriteString(fd, "last\n")
			if pid == 0 && err == nil {
				child.Exit(done)
			}
			t.Must(err)
			t.reapLater(pid)
			w.Close()
			text := make([]byte, len("before\nchild\nparent\nlast\nlast\n"))
			t.readAll(r, text)
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			t.Equal("the first line", lines[0], "before")
			slices.Sort(lines)
			t.Equal("all lines", lines, []string{"before", "child", "last", "last", "parent"})
		},
	},
	{
		ID:     "pid-new",
		Claim:  "The child's pid is none of a process, a process group or a session that there is.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			init := t.pidNamespace()
			leader := init.Fork()
			leader.Call(unix.SYS_SETSID)
			member := leader.Fork()
			number := leader.Call(unix.SYS_GETPID)
			next := func() int { // the pid of a child that could get the leader's
				init.nextPID(number)
				c := init.Fork()
				pid := c.Call(unix.SYS_GETPID)
				c.EndAndReap()
				return pid
			}
			t.True("not the pid of a process", next() != number, number)
			leader.End(0)
			t.True("not the pid of a zombie", next() != number, number)
			leader.Status()
			t.Equal("the session that is left", member.Call(unix.SYS_GETSID, 0), number)
			t.True("not the id of a session without its leader", next() != number, number)
			member.End(0)
			init.reapAny()
			t.Equal("a pid that is free again", next(), number)
		},
	},
	{
		ID:     "pid-not-group",
		Claim:  "The child's pid is not the id of a process group whose leader is gone.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			init := t.pidNamespace()
			leader := init.Fork()
			number := leader.Call(unix.SYS_GETPID)
			member := init.Fork()
			leader.Call(unix.SYS_SETPGID, 0, 0)
			init.Call(unix.SYS_SETPGID, member.Call(unix.SYS_GETPID), number)
			leader.EndAndReap()
			t.Equal("the group that is left", member.Call(unix.SYS_GETPGID, 0), number)
			init.nextPID(number)
			c := init.Fork()
			t.True("not the id of the group", c.Call(unix.SYS_GETPID) != number, c.Call(unix.SYS_GETPID))
			member.EndAndReap()
			init.nextPID(number)
			t.Equal("a pid that is free again", init.Fork().Call(unix.SYS_GETPID), number)
		},
	},
	{
		ID:     "parent-pid",
		Claim:  "The child's parent is the process that called fork.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			t.Equal("the parent of this program's child", p.Call(unix.SYS_GETPPID), os.Getpid())
			t.Equal("the parent of the child's child", c.Call(unix.SYS_GETPPID), p.Pid())
		},
	},
	{
		ID: "state-copied", Row: "C1",
		Claim:  "A child is its parent's duplicate: of all that /proc tells of a process, only its ids and its start differ.",
		Source: "POSIX fork(); fork(2); proc(5)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			changed := map[string]bool{}
			parent, err := p.Probe.State()
			t.Must(err)
			child, err := c.Probe.State()
			t.Must(err)
			for _, change := range procstate.Changes(parent, child, "Memory", "Run") {
				if field, _, _ := strings.Cut(change.Field, "["); !counts[change.Field[strings.LastIndex(change.Field, ".")+1:]] {
					changed[field] = true
				}
			}
			delete(changed, "StartTime") // the same when both began within one tick
			var fields []string
			for field := range changed {
				fields = append(fields, field)
			}
			slices.Sort(fields)
			t.Equal("what differs", fields, []string{"NSPIDs", "PID", "PPID"})
		},
	},
	{
		ID:     "one-thread",
		Claim:  "The child has one thread, however many its parent has.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			t.severalThreads()
			p := t.Fork()
			self, err := procstate.Self()
			t.Must(err)
			s := p.State(procstate.Threads)
			t.True("the parent has several", len(self.Threads) > 1, len(self.Threads))
			t.Equal("the child's threads", len(s.Threads), 1)
			t.Equal("its thread's id", p.Call(unix.SYS_GETTID), p.Pid())
		},
	},
	{
		ID:     "same-program",
		Claim:  "The child runs its parent's program, with its arguments and its name.",
		Source: "fork(2); PR_SET_NAME(2const)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_PRCTL, unix.PR_SET_NAME, "a-name")
			c := p.Fork()
			parent, child := p.State(0), c.State(0)
			t.Equal("the program", child.Exe, parent.Exe)
			t.Equal("the arguments", child.Argv, parent.Argv)
			t.Equal("the name", child.Name, "a-name")
			c.Call(unix.SYS_PRCTL, unix.PR_SET_NAME, "another")
			t.Equal("the parent's name, after the child changed its own", p.State(0).Name, "a-name")
			p.Call(unix.SYS_PRCTL, unix.PR_SET_NAME, "a-third")
			t.Equal("the child's name, after the parent changed its own", c.State(0).Name, "another")
		},
	},
	{
		ID:     "environment",
		Claim:  "The child has a copy of its parent's environment.",
		Source: "POSIX fork()",
		Check: func(t *T) {
			p := t.Fork()
			start := p.environment()
			before := p.State(0).Env
			c := p.Fork()
			t.Equal("the child's environment", c.State(0).Env, before)
			c.Put(start, "#")
			t.Equal("the first byte in the child, overwritten", c.Bytes(start, 1), "#")
			t.Equal("the parent's environment, after that", p.State(0).Env, before)
		},
	},
	{
		ID:     "umask",
		Claim:  "The child has its parent's file mode creation mask, and from then on one of its own.",
		Source: "POSIX umask(); umask(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Call(unix.SYS_UMASK, 0o27)
			c := p.Fork()
			t.Equal("the child's mask", c.Call(unix.SYS_UMASK, 0o77), 0o27)
			t.Equal("the parent's, after the child changed its own", p.Call(unix.SYS_UMASK, 0o31), 0o27)
			t.Equal("the child's, after the parent changed its own", c.Call(unix.SYS_UMASK, 0), 0o77)
		},
	},
	{
		ID:     "directory",
		Claim:  "The child has its parent's working directory, and from then on one of its own.",
		Source: "POSIX fork(); fork(2); chdir(2)",
		Check: func(t *T) {
			dir := t.Dir()
			p := t.Fork()
			t.Must(p.Chdir(dir))
			c := p.Fork()
			t.Equal("the child's directory", c.State(0).Cwd.Name, dir)
			t.Must(c.Chdir("/"))
			t.Equal("the parent's, after the child moved", p.State(0).Cwd.Name, dir)
			t.Must(p.Chdir("/proc"))
			t.Equal("the child's, after the parent moved", c.State(0).Cwd.Name, "/")
		},
	},
	{
		ID:     "root-directory",
		Claim:  "The child has its parent's root directory, and from then on one of its own.",
		Source: "chroot(2)",
		Check: func(t *T) {
			outer := t.Dir()
			t.Must(os.Mkdir(filepath.Join(outer, "inner"), 0o700))
			p := t.Fork()
			p.Need("chroot", nil, unix.SYS_CHROOT, outer)
			c := p.Fork()
			t.Equal("the child's root", c.State(0).Root.Name, outer)
			c.Call(unix.SYS_CHROOT, "/inner")
			t.Equal("the child's, after it moved", c.State(0).Root.Name, outer+"/inner")
			t.Equal("the parent's, after the child moved", p.State(0).Root.Name, outer)
		},
	},
	{
		ID:     "limits",
		Claim:  "The child has its parent's resource limits, and from then on some of its own.",
		Source: "getrlimit(2)",
		Check: func(t *T) {
			p := t.Fork()
			for _, resource := range []int{unix.RLIMIT_CORE, unix.RLIMIT_CPU, unix.RLIMIT_FSIZE, unix.RLIMIT_STACK} {
				limit, err := p.Getrlimit(resource)
				t.Must(err)
				limit.Cur = min(limit.Max, uint64(1<<26+resource))
				t.Must(p.Setrlimit(resource, limit))
			}
			parent := p.State(0).Limits
			c := p.Fork()
			t.Equal("the child's limits", c.State(0).Limits, parent)
			t.Must(c.Setrlimit(unix.RLIMIT_CORE, unix.Rlimit{}))
			t.Equal("the child's, after it changed one", c.State(0).Limits["core"], procstate.Limit{})
			t.Equal("the parent's, after the child changed one", p.State(0).Limits, parent)
		},
	},
}

// counts are the fields of a State that count what happens, and what each process
// counts for itself: the child's pages are marked as shared.
var counts = map[string]bool{
	"Rss": true, "Pss": true, "SharedClean": true, "SharedDirty": true, "PrivateClean": true,
	"PrivateDirty": true, "Anonymous": true, "AnonHugePages": true, "Swap": true, "VmFlags": true, "TID": true,
}

//go:noinline
//go:norace
func forkInFunction() (int, error) { return rawfork.Fork() }

// pidNamespace makes a process that is init of a pid namespace of its own.
func (t *T) pidNamespace() *Process {
	p := t.Fork()
	init := p.Clone(unix.CLONE_NEWPID | unix.CLONE_NEWNS)
	// The namespace's own /proc, seen by it alone.
	init.Need("mount", nil, unix.SYS_MOUNT, "none", "/", nil, unix.MS_REC|unix.MS_PRIVATE, nil)
	init.Need("mount of a /proc", nil, unix.SYS_MOUNT, "proc", "/proc", "proc", 0, nil)
	return init
}

// nextPID has the next pid in the namespace of p be pid, if that one is free.
func (p *Process) nextPID(pid int) {
	const path = "/proc/sys/kernel/ns_last_pid"
	fd := p.Need("open "+path, []syscall.Errno{unix.ENOENT}, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_WRONLY, 0)
	text := fmt.Append(nil, pid-1)
	p.Need("write to "+path, nil, unix.SYS_WRITE, fd, text, len(text))
	p.Call(unix.SYS_CLOSE, fd)
}

// reapAny has init reap what has come to it.
func (p *Process) reapAny() { p.Call(unix.SYS_WAIT4, -1, nil, 0, nil) }

// environment is the address of the environment of p as proc(5) knows it.
func (p *Process) environment() uintptr {
	const envStart = 50 // in proc_pid_stat(5), which counts from 1
	return uintptr(p.stat(envStart))
}

// stat is a number of /proc/PID/stat.
func (p *Process) stat(field int) (value int) {
	stat := p.Text("stat")
	const first = 3 // of the fields that follow the name
	_, err := fmt.Sscan(strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[field-first], &value)
	p.t.Must(err)
	return value
}
