//go:build cgo && (amd64 || arm64)

package rules

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork/procstate"
)

var securityRules = []Rule{
	{
		ID:     "user-ids",
		Claim:  "The child has its parent's user and group ids, real, effective and saved, and from then on its own.",
		Source: "POSIX fork(); credentials(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("setresgid", nil, unix.SYS_SETRESGID, 2001, 2002, 2003)
			p.Need("setresuid", nil, unix.SYS_SETRESUID, 1001, 1002, 1003)
			c := p.Fork()
			s := c.State(0)
			uids, gids := procstate.IDs{Real: 1001, Effective: 1002, Saved: 1003, FS: 1002}, procstate.IDs{Real: 2001, Effective: 2002, Saved: 2003, FS: 2002}
			t.Equal("the child's user ids", s.UIDs, uids)
			t.Equal("the child's group ids", s.GIDs, gids)
			c.Call(unix.SYS_SETRESUID, 1003, 1003, 1003)
			t.Equal("the parent's user ids, after the child changed its own", p.State(0).UIDs, uids)
		},
	},
	{
		ID:     "groups",
		Claim:  "The child has its parent's supplementary groups, and from then on its own.",
		Source: "POSIX fork(); credentials(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("setgroups", nil, unix.SYS_SETGROUPS, 2, []uint32{3001, 3002})
			c := p.Fork()
			t.Equal("the child's", c.State(0).Groups, []int{3001, 3002})
			c.Call(unix.SYS_SETGROUPS, 0, nil)
			t.Equal("the child's, given up", len(c.State(0).Groups), 0)
			t.Equal("the parent's, after the child gave its own up", p.State(0).Groups, []int{3001, 3002})
		},
	},
	{
		ID:     "capabilities",
		Claim:  "The child has its parent's capabilities in all five sets, and drops them for itself.",
		Source: "capabilities(7)",
		Check: func(t *T) {
			p := t.Fork()
			const kill, chown, bind = 1 << unix.CAP_KILL, 1 << unix.CAP_CHOWN, 1 << unix.CAP_NET_BIND_SERVICE
			p.capset(kill, kill|chown|bind, kill|chown)
			p.Call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_KILL, 0, 0)
			before := p.State(0).Capabilities
			t.Equal("the parent's own sets", []procstate.CapSet{before.Effective, before.Permitted, before.Inheritable, before.Ambient},
				[]procstate.CapSet{kill, kill | chown | bind, kill | chown, kill})
			c := p.Fork()
			t.Equal("the child's sets", c.State(0).Capabilities, before)
			c.capset(0, 0, 0)
			t.Equal("the child's, dropped", c.State(0).Capabilities.Permitted, procstate.CapSet(0))
			t.Equal("the parent's sets, after the child dropped its own", p.State(0).Capabilities, before)
		},
	},
	{
		ID:     "bounding-set",
		Claim:  "A capability that the parent dropped from the bounding set is not in the child's; one that the child drops stays in the parent's.",
		Source: "capabilities(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("PR_CAPBSET_DROP", nil, unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, unix.CAP_SYS_BOOT)
			c := p.Fork()
			has := func(p *Process, capability int) int { return p.Call(unix.SYS_PRCTL, unix.PR_CAPBSET_READ, capability) }
			t.Equal("the child's has what the parent dropped", has(c, unix.CAP_SYS_BOOT), 0)
			c.Call(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, unix.CAP_CHOWN)
			t.Equal("the parent's has what the child dropped", has(p, unix.CAP_CHOWN), 1)
		},
	},
	{
		ID:     "securebits",
		Claim:  "The child has its parent's securebits, and from then on its own.",
		Source: "capabilities(7); PR_SET_SECUREBITS(2const)",
		Check: func(t *T) {
			const noRoot, noSetuidFixup = 1, 4
			p := t.Fork()
			p.Need("PR_SET_SECUREBITS", nil, unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, noRoot)
			c := p.Fork()
			bits := func(p *Process) int { return p.Call(unix.SYS_PRCTL, unix.PR_GET_SECUREBITS) }
			t.Equal("the child's", bits(c), noRoot)
			c.Call(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, noSetuidFixup)
			t.Equal("the parent's, after the child changed its own", bits(p), noRoot)
		},
	},
	{
		ID:     "keepcaps",
		Claim:  "The child of a process that keeps its capabilities at setuid keeps its own.",
		Source: "PR_SET_KEEPCAPS(2const)",
		Check: func(t *T) {
			checkFlag(t, "the flag", []any{unix.PR_GET_KEEPCAPS}, []any{unix.PR_SET_KEEPCAPS, 1}, []any{unix.PR_SET_KEEPCAPS, 0})
		},
	},
	{
		ID:     "no-new-privs",
		Claim:  "The child of a process that can gain no privileges can gain none; a child's own promise doesn't bind its parent.",
		Source: "PR_SET_NO_NEW_PRIVS(2const)",
		Check: func(t *T) {
			p := t.Fork()
			free := p.Fork()
			p.Call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
			t.Equal("a child forked after", p.Fork().State(0).NoNewPrivs, true)
			t.Equal("a child forked before", free.State(0).NoNewPrivs, false)
			free.Fork().Call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
			t.Equal("the parent of a child that promised", free.State(0).NoNewPrivs, false)
		},
	},
	{
		ID:     "seccomp",
		Claim:  "The child runs under its parent's seccomp filters; a filter that either adds later is its own.",
		Source: "seccomp(2)",
		Check: func(t *T) {
			p := t.Fork()
			before := p.Fork()
			p.filter(unix.SYS_SCHED_YIELD, unix.EDOM)
			c := p.Fork()
			t.Equal("the child's filtered call", c.Errno(unix.SYS_SCHED_YIELD), unix.EDOM)
			t.Equal("the call in a child forked before", before.Errno(unix.SYS_SCHED_YIELD), success)
			t.Equal("the child's filters", c.State(0).SeccompFilters, 1)
			c.filter(unix.SYS_GETPGID, unix.ERANGE)
			t.Equal("a call that the child filtered itself", c.Errno(unix.SYS_GETPGID, 0), unix.ERANGE)
			t.Equal("that call in the parent", p.Errno(unix.SYS_GETPGID, 0), success)
		},
	},
	{
		ID:     "landlock",
		Claim:  "The child is restricted by its parent's landlock rules, and not by those that its parent takes on later.",
		Source: "landlock(7)",
		Check: func(t *T) {
			p := t.Fork()
			before := p.Fork()
			attr := unix.LandlockRulesetAttr{Access_fs: unix.LANDLOCK_ACCESS_FS_READ_FILE}
			ruleset := p.Need("landlock_create_ruleset", []syscall.Errno{unix.EINVAL}, unix.SYS_LANDLOCK_CREATE_RULESET, &attr, 8, 0)
			p.Call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
			p.Call(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
			read := func(p *Process) syscall.Errno {
				return p.Errno(unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/self/status", unix.O_RDONLY, 0)
			}
			t.Equal("the parent's read", read(p), unix.EACCES)
			t.Equal("the read of a child forked after", read(p.Fork()), unix.EACCES)
			t.Equal("the read of a child forked before", read(before), success)
		},
	},
	{
		ID:     "personality",
		Claim:  "The child has its parent's execution domain, and from then on its own.",
		Source: "personality(2)",
		Check: func(t *T) {
			const ask, noRandomize, whole = 0xffffffff, 0x0040000, 0x2000000
			p := t.Fork()
			p.Call(unix.SYS_PERSONALITY, noRandomize)
			c := p.Fork()
			t.Equal("the child's", c.Call(unix.SYS_PERSONALITY, ask), noRandomize)
			c.Call(unix.SYS_PERSONALITY, whole)
			t.Equal("the parent's, after the child changed its own", p.Call(unix.SYS_PERSONALITY, ask), noRandomize)
		},
	},
	{
		ID:     "dumpable",
		Claim:  "The child of a process that can't be dumped can't be, and each decides for itself from then on.",
		Source: "PR_SET_DUMPABLE(2const)",
		Check: func(t *T) {
			p := t.Fork()
			dumpable := func(p *Process) int { return p.Call(unix.SYS_PRCTL, unix.PR_GET_DUMPABLE) }
			t.Equal("the child of one that can be", dumpable(p.Fork()), 1)
			p.Call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
			c := p.Fork()
			t.Equal("the child of one that can't be", dumpable(c), 0)
			c.Call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1)
			t.Equal("the parent, after the child changed its mind", dumpable(p), 0)
		},
	},
	{
		ID:     "mce-kill",
		Claim:  "The child of a process that is to be killed early for broken memory is to be, too.",
		Source: "PR_MCE_KILL(2const)",
		Check: func(t *T) {
			const set, early, late = 1, 1, 0
			p := t.Fork()
			p.Need("PR_MCE_KILL", []syscall.Errno{unix.EINVAL}, unix.SYS_PRCTL, unix.PR_MCE_KILL, set, early, 0, 0)
			c := p.Fork()
			policy := func(p *Process) int { return p.Call(unix.SYS_PRCTL, unix.PR_MCE_KILL_GET, 0, 0, 0, 0) }
			t.Equal("the child's policy", policy(c), early)
			c.Call(unix.SYS_PRCTL, unix.PR_MCE_KILL, set, late, 0, 0)
			t.Equal("the parent's policy, after the child changed its own", policy(p), early)
		},
	},
	{
		ID:     "write-execute",
		Claim:  "The child of a process that may make no memory writable and executable may not either, unless it was to be for that process alone.",
		Source: "PR_SET_MDWE(2const)",
		Check: func(t *T) {
			const setMDWE, getMDWE, refuse, alone = 65, 66, 1, 2
			p := t.Fork()
			p.Need("PR_SET_MDWE", []syscall.Errno{unix.EINVAL}, unix.SYS_PRCTL, setMDWE, refuse, 0, 0, 0)
			const all = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC
			try := func(p *Process) syscall.Errno {
				return p.Errno(unix.SYS_MMAP, 0, page, all, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
			}
			t.Equal("the child's try", try(p.Fork()), unix.EACCES)
			p = t.Fork()
			p.Need("PR_MDWE_NO_INHERIT", []syscall.Errno{unix.EINVAL}, unix.SYS_PRCTL, setMDWE, refuse|alone, 0, 0, 0)
			t.Equal("the try of one that refuses for itself alone", try(p), unix.EACCES)
			t.Equal("the try of its child", try(p.Fork()), success)
		},
	},
	{
		ID:     "io-flusher",
		Claim:  "The child of a process that is part of the I/O path is marked so too.",
		Source: "PR_SET_IO_FLUSHER(2const)",
		Check: func(t *T) {
			checkFlag(t, "the mark", []any{unix.PR_GET_IO_FLUSHER, 0, 0, 0, 0}, []any{unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0},
				[]any{unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0})
		},
	},
	{
		ID:     "keyrings",
		Claim:  "The child has its parent's session keyring; those of the process and the thread are not passed on.",
		Source: "keyrings(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.Need("a session keyring", nil, unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, nil)
			const create = 1
			id := func(p *Process, ring int, create int) int {
				r, err := p.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ring, create)
				if err != nil {
					return 0
				}
				return int(int32(r))
			}
			session := id(p, unix.KEY_SPEC_SESSION_KEYRING, 0)
			t.True("the parent's process keyring", id(p, unix.KEY_SPEC_PROCESS_KEYRING, create) != 0, "made")
			t.True("the parent's thread keyring", id(p, unix.KEY_SPEC_THREAD_KEYRING, create) != 0, "made")
			c := p.Fork()
			t.Equal("the child's session keyring is the parent's", id(c, unix.KEY_SPEC_SESSION_KEYRING, 0) == session, true)
			t.Equal("the child's process keyring", id(c, unix.KEY_SPEC_PROCESS_KEYRING, 0), 0)
			t.Equal("the child's thread keyring", id(c, unix.KEY_SPEC_THREAD_KEYRING, 0), 0)
		},
	},
	{
		ID:     "port-access",
		Claim:  "The child has its parent's permissions for I/O ports, which fork(2) denies and ioperm(2) says since Linux 2.4.",
		Source: "ioperm(2); linux arch/x86/kernel/process.c",
		Check: func(t *T) {
			if runtime.GOARCH != "amd64" {
				t.Skip("%s has no ioperm", runtime.GOARCH)
			}
			const ioperm, port = 173, 0x80
			reaper := t.Fork()
			p := reaper.Fork()
			tracer := reaper.Fork()
			before := p.Fork()
			p.Need("ioperm", nil, ioperm, port, 1, 1)
			c := p.Fork()
			t.Equal("a child forked after has some", tracer.hasPorts(c), true)
			t.Equal("a child forked before has some", tracer.hasPorts(before), false)
		},
	},
	{
		ID:     "tracer",
		Claim:  "The child of a process that is traced is not traced, as long as its tracer has not asked for it.",
		Source: "ptrace(2)",
		Check: func(t *T) {
			reaper := t.Fork()
			p := reaper.Fork()
			tracer := reaper.Fork() // after p, and so ended before it: a tracer waits for whom it traces
			tracer.seize(p, 0)
			c := p.Fork()
			t.Equal("the parent's tracer", tracerOf(p), tracer.Pid())
			t.Equal("the child's tracer", tracerOf(c), 0)
			tracer.EndAndReap()
			t.Equal("the parent's tracer, after its end", tracerOf(p), 0)
		},
	},
	{
		ID:     "login",
		Claim:  "The child belongs to its parent's login session, as the audit system has it.",
		Source: "pam_loginuid(8); linux kernel/audit.c",
		Check: func(t *T) {
			p := t.Fork()
			p.Text("loginuid")
			p.writeProc("loginuid", "4321")
			t.Equal("the child's login", p.Fork().State(0).LoginUID, uint32(4321))
		},
	},
	{
		ID:     "file-owner",
		Claim:  "What the child makes belongs to the child's user, not to its parent's.",
		Source: "POSIX open(); credentials(7)",
		Check: func(t *T) {
			dir := t.Dir()
			t.Must(os.Chmod(dir, 0o777))
			p := t.Fork()
			c := p.Fork()
			c.Need("setresuid", nil, unix.SYS_SETRESUID, 1001, 1001, 1001)
			path := filepath.Join(dir, "file")
			_, err := c.Open(path, unix.O_CREAT|unix.O_WRONLY, 0o600)
			t.Must(err)
			var stat unix.Stat_t
			t.Must(unix.Stat(path, &stat))
			t.Equal("the owner", stat.Uid, uint32(1001))
			t.Equal("the parent's user", p.Call(unix.SYS_GETUID), os.Getuid())
		},
	},
}

// capset sets the first 32 capabilities.
func (p *Process) capset(effective, permitted, inheritable uint32) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: effective, Permitted: permitted, Inheritable: inheritable}}
	p.Need("capset", nil, unix.SYS_CAPSET, &header, &data)
}

// filter has the call trap fail with errno.
func (p *Process) filter(trap uint32, errno syscall.Errno) {
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	const allow, fail = 0x7fff0000, 0x00050000
	program := [4]unix.SockFilter{
		{Code: load}, // the number of the call
		{Code: equal, K: trap, Jf: 1},
		{Code: ret, K: fail | uint32(errno)},
		{Code: ret, K: allow},
	}
	addr, err := p.Place(bytesOf(&program))
	p.t.Must(err)
	p.Call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	const setModeFilter = 1
	p.Need("seccomp", []syscall.Errno{unix.EINVAL}, unix.SYS_SECCOMP, setModeFilter, 0,
		&struct {
			length  uint64
			program uint64
		}{uint64(len(program)), uint64(addr)})
}

// seize has the process trace another.
func (p *Process) seize(other *Process, options int) {
	p.Need("ptrace", nil, unix.SYS_PTRACE, unix.PTRACE_SEIZE, other.Pid(), 0, options)
}

// hasPorts has the process trace another and ask for its permissions for I/O ports.
func (p *Process) hasPorts(other *Process) bool {
	p.seize(other, 0)
	p.Call(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, other.Pid(), 0, 0)
	p.Call(unix.SYS_WAIT4, other.Pid(), nil, unix.WALL, nil)
	const bitmap, registers = 8192, 0x201 // NT_386_IOPERM
	iov := [2]uint64{uint64(p.Map(bitmap, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1)), bitmap}
	errno := p.Errno(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, other.Pid(), registers, &iov)
	p.Call(unix.SYS_PTRACE, unix.PTRACE_DETACH, other.Pid(), 0, 0)
	if errno != 0 && errno != unix.ENXIO { // it has none
		p.t.Must(errno)
	}
	return errno == 0
}

// tracerOf is the pid of the process that traces p.
func tracerOf(p *Process) int { return p.statusNumber("TracerPid") }
