//go:build cgo && (amd64 || arm64)

package rules

import (
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

var namespaceRules = []Rule{
	{
		ID:     "namespaces",
		Claim:  "The child is in all of its parent's namespaces, and what either unshares then is its own.",
		Source: "namespaces(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("unshare(CLONE_NEWUTS)", nil, unix.SYS_UNSHARE, unix.CLONE_NEWUTS)
			c := p.Fork()
			t.Equal("the child's namespaces are the parent's", same(c.State(0).Namespaces, p.State(0).Namespaces), true)
			c.Call(unix.SYS_UNSHARE, unix.CLONE_NEWIPC)
			child, parent := c.State(0).Namespaces, p.State(0).Namespaces
			t.Equal("the child's ipc is the parent's, after it unshared it", child["ipc"] == parent["ipc"], false)
			t.Equal("the child's uts is the parent's", child["uts"] == parent["uts"], true)
			p.Call(unix.SYS_UNSHARE, unix.CLONE_NEWUTS)
			t.Equal("the child's uts is as it was, after the parent unshared it", c.State(0).Namespaces["uts"], child["uts"])
		},
	},
	{
		ID:     "host-name",
		Claim:  "Parent and child share the host's name, until one unshares it.",
		Source: "uts_namespaces(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("unshare(CLONE_NEWUTS)", nil, unix.SYS_UNSHARE, unix.CLONE_NEWUTS)
			name := func(p *Process) string {
				var names unix.Utsname
				p.Call(unix.SYS_UNAME, &names)
				return unix.ByteSliceToString(names.Nodename[:])
			}
			c := p.Fork()
			c.Call(unix.SYS_SETHOSTNAME, "child", 5)
			t.Equal("the parent's, after the child set it", name(p), "child")
			c.Call(unix.SYS_UNSHARE, unix.CLONE_NEWUTS)
			c.Call(unix.SYS_SETHOSTNAME, "other", 5)
			t.Equal("the parent's, after the child unshared it and set it", name(p), "child")
		},
	},
	{
		ID:     "pid-namespace",
		Claim:  "A process that unshares its pid namespace stays where it is: its children are in the new one, and the first is its init.",
		Source: "pid_namespaces(7); unshare(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("unshare(CLONE_NEWPID)", nil, unix.SYS_UNSHARE, unix.CLONE_NEWPID)
			t.Equal("its own pid", p.Call(unix.SYS_GETPID), p.Pid())
			first := p.Fork()
			second := p.Fork()
			t.Equal("the first child's pid", first.Call(unix.SYS_GETPID), 1)
			t.Equal("the second child's pid", second.Call(unix.SYS_GETPID), 2)
			t.Equal("the first child's parent, who is outside", first.Call(unix.SYS_GETPPID), 0)
			grandchild := first.Fork()
			t.Equal("the parent of the first child's child", grandchild.Call(unix.SYS_GETPPID), 1)
		},
	},
	{
		ID:     "init-takes-all",
		Claim:  "When the init of a pid namespace ends, all processes in it are killed.",
		Source: "pid_namespaces(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("unshare(CLONE_NEWPID)", nil, unix.SYS_UNSHARE, unix.CLONE_NEWPID)
			init := p.Fork()
			other := p.Fork()
			t.Equal("another answers", other.Call(unix.SYS_GETPID), 2)
			init.Start(unix.SYS_EXIT_GROUP, 3) // its end waits for theirs, and those for being reaped
			t.Equal("how the other ended", other.Status().Signal(), unix.SIGKILL)
			t.Equal("init's own status", init.Status().ExitStatus(), 3)
		},
	},
	{
		ID:     "init-signals",
		Claim:  "The init of a pid namespace gets no signal from inside that it has no handler for, and any from outside kills it that kills others.",
		Source: "pid_namespaces(7)",
		Check: func(t *T) {
			init := t.pidNamespace()
			c := init.Fork()
			for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGKILL} {
				c.Call(unix.SYS_KILL, 1, int(sig))
			}
			t.Equal("it answers", init.Call(unix.SYS_GETPID), 1)
			init.Signal(unix.SIGKILL)
			t.Equal("how it ended", init.Status().Signal(), unix.SIGKILL)
		},
	},
	{
		ID:     "time-namespace",
		Claim:  "A process that unshares its time namespace keeps its clocks: its children have those of the new one.",
		Source: "time_namespaces(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("unshare(CLONE_NEWTIME)", []syscall.Errno{unix.EINVAL}, unix.SYS_UNSHARE, unix.CLONE_NEWTIME)
			const hours = 1_000_000
			p.writeProc("timens_offsets", "monotonic 3600000000 0")
			hour := func(p *Process) int {
				now, err := p.ClockGettime(unix.CLOCK_MONOTONIC)
				t.Must(err)
				return int(now.Hours())
			}
			c := p.Fork()
			t.Equal("the parent's clock is ahead", hour(p) >= hours, false)
			t.Equal("the child's clock is ahead", hour(c) >= hours, true)
		},
	},
	{
		ID:     "mounts",
		Claim:  "Parent and child see each other's mounts, until one unshares its mount namespace.",
		Source: "mount_namespaces(7)",
		Check: func(t *T) {
			dir := t.Dir()
			p := t.Fork()
			p.Need("unshare(CLONE_NEWNS)", nil, unix.SYS_UNSHARE, unix.CLONE_NEWNS)
			p.Need("mount", nil, unix.SYS_MOUNT, "none", "/", nil, unix.MS_REC|unix.MS_PRIVATE, nil)
			c := p.Fork()
			c.Need("mount of a tmpfs", nil, unix.SYS_MOUNT, "rules", dir, "tmpfs", 0, nil)
			fd, err := c.Open(filepath.Join(dir, "file"), unix.O_CREAT|unix.O_WRONLY, 0o600)
			t.Must(err)
			t.Must(c.CloseFd(fd))
			look := func(p *Process) syscall.Errno {
				return p.Errno(unix.SYS_FACCESSAT, unix.AT_FDCWD, filepath.Join(dir, "file"), 0)
			}
			t.Equal("the parent looks for the file", look(p), success)
			_, err = os.Stat(filepath.Join(dir, "file"))
			t.Equal("this program sees it", err == nil, false)
			c.Call(unix.SYS_UNSHARE, unix.CLONE_NEWNS)
			c.Call(unix.SYS_UMOUNT2, dir, 0)
			t.Equal("the child looks, after it unshared and unmounted", look(c), unix.ENOENT)
			t.Equal("the parent looks, after that", look(p), success)
		},
	},
	{
		ID:     "user-namespace",
		Claim:  "A child in a user namespace of its own has all capabilities there, none outside, and a user id that stands for none.",
		Source: "user_namespaces(7)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Clone(unix.CLONE_NEWUSER)
			t.Equal("the child's user id", c.Call(unix.SYS_GETUID), 65534)
			t.True("its capabilities", c.State(0).Capabilities.Effective&(1<<unix.CAP_SYS_ADMIN) != 0, c.State(0).Capabilities.Effective)
			t.Equal("it sets the host's name", c.Errno(unix.SYS_SETHOSTNAME, "child", 5), unix.EPERM)
			c.Call(unix.SYS_UNSHARE, unix.CLONE_NEWUTS)
			t.Equal("it sets the name in a namespace of its own", c.Errno(unix.SYS_SETHOSTNAME, "child", 5), success)
			t.Equal("its parent's user id", p.Call(unix.SYS_GETUID), os.Getuid())
		},
	},
	{
		ID:     "network",
		Claim:  "A child with its own network namespace keeps its parent's sockets, which stay in the parent's network.",
		Source: "network_namespaces(7)",
		Check: func(t *T) {
			p := t.Fork()
			fd := p.Call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
			loopback := [16]byte{unix.AF_INET, 0, 0, 0, 127, 0, 0, 1}
			p.Call(unix.SYS_BIND, fd, &loopback, len(loopback))
			p.Call(unix.SYS_LISTEN, fd, 4)
			length := uint32(len(loopback))
			p.Call(unix.SYS_GETSOCKNAME, fd, &loopback, &length)
			c := p.Clone(unix.CLONE_NEWNET)
			connect := func(p *Process) syscall.Errno {
				fd := p.Call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
				return p.Errno(unix.SYS_CONNECT, fd, &loopback, len(loopback))
			}
			t.Equal("the child connects, by its own network", connect(c), unix.ENETUNREACH)
			t.Equal("the parent connects", connect(p), success)
			t.Equal("the child accepts at the parent's socket", c.Call(unix.SYS_ACCEPT4, fd, nil, nil, 0) > 0, true)
		},
	},
	{
		ID:     "ipc-namespace",
		Claim:  "A child with its own ipc namespace finds none of its parent's System V objects; a plain child finds all.",
		Source: "ipc_namespaces(7)",
		Check: func(t *T) {
			p := t.Fork()
			id := p.semaphore(1)
			const getval = 12
			t.Equal("a plain child", p.Fork().Errno(unix.SYS_SEMCTL, id, 0, getval, 0), success)
			t.Equal("a child with its own", p.Clone(unix.CLONE_NEWIPC).Errno(unix.SYS_SEMCTL, id, 0, getval, 0), unix.EINVAL)
		},
	},
}

// same tells whether two processes are in the same namespaces.
func same(a, b map[string]uint64) bool {
	for name, inode := range a {
		if b[name] != inode {
			return false
		}
	}
	return len(a) == len(b) && len(a) > 0
}
