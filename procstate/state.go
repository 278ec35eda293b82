package procstate

import "time"

// A State is what one process is. Where a field couldn't be read it is zero, and
// Missing says why.
type State struct {
	PID        int    // thread group id, in the reader's pid namespace
	PPID       int    // 0 where the parent is outside the reader's pid namespace
	PGID       int    // process group
	SID        int    // session
	NSPIDs     []int  // its pid in each pid namespace that it is in, the reader's first
	Name       string // comm: at most 15 bytes, any but NUL
	Run        string // state letter: R, S, D, T, t, Z, X, I
	Ended      bool   // in exit(2), or a zombie: it gives back, or gave back, memory and descriptors
	Kernel     bool   // a kernel thread: no memory, program or arguments of its own
	StartTime  uint64 // clock ticks since boot; with PID it names a process for ever
	ExitSignal Signal // sent to the parent at the end; SIGCHLD after fork(2)

	TTY            TTY // controlling terminal, zero without one
	ForegroundPGID int // the terminal's foreground process group, -1 without a terminal

	UIDs           IDs
	GIDs           IDs
	Groups         []int // supplementary, as the kernel sorts them
	Capabilities   Capabilities
	Umask          Umask
	NoNewPrivs     bool
	Seccomp        SeccompMode
	SeccompFilters int
	Dumpable       bool   // PR_GET_DUMPABLE is 1. Can't be told of another process with euid and egid 0
	LoginUID       uint32 // Unset before a login
	AuditSession   uint32 // Unset before a login
	Personality    Personality

	Cwd  Path
	Root Path
	Exe  Path
	Argv []string
	Env  []string // as at exec or as the process rewrote it in place; not what setenv(3) moved elsewhere

	// The thread group leader's mask and pending set; see Threads for the others.
	Blocked        SignalSet
	Pending        SignalSet
	ProcessPending SignalSet // sent to the process as a whole
	Ignored        SignalSet
	Caught         SignalSet

	Limits map[string]Limit // by getrlimit(2)'s name in small letters: "nofile"

	// Of the thread group leader; see Threads for the others.
	Nice       int
	Policy     Policy
	RTPriority int
	Affinity   []int // CPUs that it may run on
	TimerSlack time.Duration

	OOMScoreAdj    int
	Autogroup      string // such as "/autogroup-8", empty in none
	AutogroupNice  int
	CoredumpFilter uint32 // bits of core(5)

	Namespaces map[string]uint64 // inode by link name: "net", "pid_for_children"
	Cgroups    map[string]string // path by controllers: "cpu,cpuacct", "name=systemd"; cgroup2 is "unified"

	Descriptors map[int]Descriptor
	Locks       []Lock
	Timers      []Timer  // of timer_create(2)
	Threads     []Thread // by thread id
	Maps        []Map    // by address
	Memory      Memory

	Missing Missing
}

// Unset is the LoginUID and AuditSession of a process that no login began.
const Unset = 1<<32 - 1

// Missing tells for a field of [State], by its name, why it couldn't be read:
//   - an error of the kernel, such as EACCES for the environment of another
//     user's process, or ENOENT for what the kernel wasn't built with;
//   - [os.ErrProcessDone] for what a process that ended doesn't have any more;
//   - [ErrKernelThread] for what a kernel thread doesn't have;
//   - [ErrInExec] for the arguments and environment that a process doesn't have yet;
//   - [ErrLeftOut] for what [ReadParts] wasn't asked for.
//
// One namespace that can't be read is missing as "Namespaces[NAME]".
type Missing map[string]error

// IDs are the user or group ids of a process, see credentials(7).
type IDs struct{ Real, Effective, Saved, FS uint32 }

// Capabilities are the five sets of capabilities(7).
type Capabilities struct{ Inheritable, Permitted, Effective, Bounding, Ambient CapSet }

// A Path is what a link of /proc points to, as seen from the reader's root.
type Path struct {
	Name    string
	Deleted bool // there is no such name any more
}

// A Limit is one of getrlimit(2); Unlimited is no limit.
type Limit struct{ Soft, Hard uint64 }

// Unlimited is RLIM_INFINITY.
const Unlimited = 1<<64 - 1

// A Descriptor is an entry of the descriptor table and the open file description
// that it refers to.
type Descriptor struct {
	Target      string // a path, or such as "pipe:[1234]", "socket:[1234]", "anon_inode:[eventpoll]"
	Deleted     bool
	CloseOnExec bool      // of the descriptor
	Flags       OpenFlags // of the description: access mode and status flags
	Offset      int64     // of the description
	MountID     int
	Inode       uint64
	// Info has the further lines of fdinfo, such as "eventfd-count: 0" or "Pid: 12".
	// Most of them count something, so Diff leaves them out.
	Info []string
}

// A Lock is a file lock that the process holds, shares or waits for. Locks of
// flock(2) and open file description locks belong to the description: every
// process with a descriptor of it has them.
type Lock struct {
	Kind      string // POSIX, FLOCK, OFDLCK, LEASE, DELEG, ...
	Mandatory string // ADVISORY, MANDATORY; of a lease ACTIVE, BREAKING, BREAKER
	Mode      string // READ, WRITE, UNLCK
	PID       int    // who took it; -1 for OFDLCK, 0 outside the reader's pid namespace
	Major     uint32 // of the file system's device
	Minor     uint32
	Inode     uint64
	Start     uint64
	End       uint64 // inclusive; EOF for the end of the file
	Waiting   bool   // blocked on a lock that somebody else holds
	// Descriptors that the lock is shown with, ascending. None for one that is
	// waited for, and where descriptors couldn't be read.
	Descriptors []int
}

// EOF is the end of a lock that reaches to the end of its file.
const EOF = 1<<64 - 1

// A Timer is a POSIX timer, made by timer_create(2).
type Timer struct {
	ID     int
	Clock  int    // clockid_t
	Signal Signal // 0 for a timer that sends none
	Value  uint64 // sigev_value, 0 where the reader may not see it
	Notify string // such as "signal/pid.123", "none/pid.123"
}

// A Thread is what is a thread's own.
type Thread struct {
	TID        int
	Name       string
	Run        string // state letter
	Blocked    SignalSet
	Pending    SignalSet
	Nice       int
	Policy     Policy
	RTPriority int
	Affinity   []int
}

// A Map is a memory mapping, from smaps. Sizes are in bytes.
type Map struct {
	Start, End    uint64
	Perms         string // such as "rw-p": p is private (copy-on-write), s shared
	Offset        uint64
	Major, Minor  uint32
	Inode         uint64
	Name          string // path, or such as "[heap]", "[stack]", "[anon:name]"; empty for anonymous memory
	Deleted       bool
	VmFlags       []string // two letters each, see proc(5): "dc" is MADV_DONTFORK, "wf" MADV_WIPEONFORK
	Rss           uint64
	Pss           uint64 // each shared page divided by the number of its sharers
	SharedClean   uint64
	SharedDirty   uint64
	PrivateClean  uint64
	PrivateDirty  uint64
	Anonymous     uint64
	AnonHugePages uint64
	Swap          uint64
	Locked        uint64
}

// Memory is the sum over all mappings, from smaps_rollup, in bytes.
type Memory struct {
	Rss, Pss     uint64
	SharedClean  uint64
	SharedDirty  uint64
	PrivateClean uint64
	PrivateDirty uint64
	Anonymous    uint64
	Swap         uint64
}

// Parts says which parts of a State are read beyond what every process has at
// little cost.
type Parts uint

const (
	Descriptors Parts = 1 << iota // Descriptors, Locks
	Threads                       // Threads
	Maps                          // Maps: walks the page tables, milliseconds for a large heap
	Totals                        // Memory: walks them too

	// All is all of them.
	All = Descriptors | Threads | Maps | Totals
)
