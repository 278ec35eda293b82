//go:build cgo && (amd64 || arm64)

package rules

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"rawfork/procstate"
)

var errorRules = []Rule{
	{
		ID: "limit-user", Row: "C18",
		Claim:  "Fork fails with EAGAIN when the user has RLIMIT_NPROC processes, and works again with room for one more.",
		Source: "POSIX fork(); fork(2); getrlimit(2)",
		Check: func(t *T) {
			p := t.Fork()
			const uid = 54321 // nobody else's, so that there is one process
			p.Need("setresuid", nil, unix.SYS_SETRESUID, uid, uid, uid)
			limit := func(n uint64) { t.Must(p.Setrlimit(unix.RLIMIT_NPROC, unix.Rlimit{Cur: n, Max: 2})) }
			limit(1)
			t.Equal("with a limit of 1", p.TryFork(), unix.EAGAIN)
			limit(2)
			t.Equal("with a limit of 2", p.TryFork(), success)
			c := p.Fork()
			t.Equal("the child, with a limit of 2", c.TryFork(), unix.EAGAIN)
		},
	},
	{
		ID:     "limit-user-root",
		Claim:  "RLIMIT_NPROC doesn't hold a process with CAP_SYS_RESOURCE or CAP_SYS_ADMIN.",
		Source: "fork(2); getrlimit(2)",
		Check: func(t *T) {
			p := t.Fork()
			if capabilities := p.State(0).Capabilities.Effective; capabilities&(1<<unix.CAP_SYS_ADMIN) == 0 {
				t.Skip("capabilities are %v", capabilities)
			}
			t.Must(p.Setrlimit(unix.RLIMIT_NPROC, unix.Rlimit{Cur: 0, Max: 10}))
			t.Equal("with the capability", p.TryFork(), success)
			const uid = 54322
			p.Call(unix.SYS_SETRESUID, uid, uid, uid)
			t.Equal("without", p.TryFork(), unix.EAGAIN)
		},
	},
	{
		ID: "limit-cgroup", Row: "C18",
		Claim:  "Fork fails with EAGAIN when the control group has pids.max processes, and works again with room for one more.",
		Source: "fork(2); linux Documentation/admin-guide/cgroup-v1/pids.rst",
		Check: func(t *T) {
			group := t.cgroup()
			p := t.Fork()
			t.enter(group, p)
			t.writeFile(group+"/pids.max", "1")
			t.Equal("with room for 1", p.TryFork(), unix.EAGAIN)
			t.writeFile(group+"/pids.max", "2")
			t.Equal("with room for 2", p.TryFork(), success)
			c := p.Fork()
			t.Equal("with 2 of 2", c.TryFork(), unix.EAGAIN)
			c.End(0)
			t.Equal("with a zombie that makes it 2 of 2", p.TryFork(), unix.EAGAIN)
			c.Status()
			t.Equal("when it has been reaped", p.TryFork(), success)
		},
	},
	{
		ID: "without-memory", Row: "C18",
		Claim:  "Fork fails with ENOMEM when the kernel would have to promise more memory than there is.",
		Source: "POSIX fork(); fork(2); proc_sys_vm(5): overcommit_memory",
		Check: func(t *T) {
			const path = "/proc/sys/vm/overcommit_memory"
			mode, err := os.ReadFile(path)
			t.Must(err)
			if strings.TrimSpace(string(mode)) != "0" {
				t.Skip("%s is %s", path, strings.TrimSpace(string(mode)))
			}
			var info unix.Sysinfo_t
			t.Must(unix.Sysinfo(&info))
			half := (int(info.Totalram+info.Totalswap)*int(info.Unit)/2 + 1<<30) &^ (1<<21 - 1)
			p := t.Fork()
			// Each half may be mapped, and the kernel makes one mapping of them, which is
			// more than there is. Nothing of it is touched.
			const rw, private = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
			room := p.Map(2*half, unix.PROT_NONE, private|unix.MAP_NORESERVE, -1)
			p.Call(unix.SYS_MUNMAP, room, 2*half)
			p.Call(unix.SYS_MMAP, room, half, rw, private|unix.MAP_FIXED_NOREPLACE, -1, 0)
			t.Equal("with half of it", p.TryFork(), success)
			p.Call(unix.SYS_MMAP, room+uintptr(half), half, rw, private|unix.MAP_FIXED_NOREPLACE, -1, 0)
			t.Equal("with more than there is", p.TryFork(), unix.ENOMEM)
			p.Call(unix.SYS_MADVISE, room, half, unix.MADV_DONTFORK)
			t.Equal("with half of it to be left out", p.TryFork(), success)
		},
	},
	{
		ID: "dead-init", Row: "C18",
		Claim:  "Fork fails with ENOMEM in a pid namespace whose init was killed.",
		Source: "fork(2); pid_namespaces(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("unshare(CLONE_NEWPID)", nil, unix.SYS_UNSHARE, unix.CLONE_NEWPID)
			init := p.Fork()
			t.Equal("the first child's pid", init.Call(unix.SYS_GETPID), 1)
			t.Equal("while it lives", p.TryFork(), success)
			init.Signal(unix.SIGKILL)
			t.Equal("the signal that ended it", init.Status().Signal(), unix.SIGKILL)
			t.Equal("when it is dead", p.TryFork(), unix.ENOMEM)
		},
	},
	{
		ID:     "no-child-on-failure",
		Claim:  "A fork that fails leaves nothing: no child, no descriptor, no mapping.",
		Source: "POSIX fork()",
		Check: func(t *T) {
			p := t.Fork()
			const uid = 54323
			p.Need("setresuid", nil, unix.SYS_SETRESUID, uid, uid, uid)
			p.count(unix.SIGCHLD)
			t.Must(p.Setrlimit(unix.RLIMIT_NPROC, unix.Rlimit{Cur: 1, Max: 1}))
			before := p.State(procstate.Maps | procstate.Descriptors)
			for range 3 {
				t.Equal("fork", p.TryFork(), unix.EAGAIN)
			}
			after := p.State(procstate.Maps | procstate.Descriptors)
			t.Equal("children", p.Errno(unix.SYS_WAIT4, -1, nil, unix.WNOHANG, nil), unix.ECHILD)
			t.Equal("signals", p.handled(unix.SIGCHLD), 0)
			t.Equal("descriptors more", len(after.Descriptors)-len(before.Descriptors), 0)
			t.Equal("mappings more", len(after.Maps)-len(before.Maps), 0)
		},
	},
	{
		ID:     "limit-thread",
		Claim:  "Threads count as processes do at the limits.",
		Source: "fork(2); clone(2)",
		Check: func(t *T) {
			group := t.cgroup()
			p := t.Fork()
			t.enter(group, p)
			t.writeFile(group+"/pids.max", "2")
			c := p.Clone(unix.CLONE_PARENT)
			t.Equal("fork, with another's process in the group", p.TryFork(), unix.EAGAIN)
			c.EndAndReap()
			t.Equal("fork, when it is gone", p.TryFork(), success)
		},
	},
}
