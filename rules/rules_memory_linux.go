//go:build cgo && (amd64 || arm64)

package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/procstate"
)

// Operations of ioctl_userfaultfd(2).
const (
	uffdioAPI      = 0xc018aa3f
	uffdioRegister = 0xc020aa00
)

// The event of a fork, and what asks for it.
const (
	uffdFeatureFork = 1 << 1
	uffdEventFork   = 0x13
)

// Variables of each kind of memory that a program has.
var (
	initialised = int64(11) // in the data segment
	zeroed      int64       // in the bss
)

var memoryRules = []Rule{
	{
		ID: "memory-copied", Row: "C6",
		Claim:  "The child has a copy of its parent's data, bss and heap, and neither sees what the other changes.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			heap := new(int64)
			*heap = 33
			p := t.Fork()
			c := p.Fork()
			for _, v := range []struct {
				name string
				addr *int64
				want int64
			}{{"data", &initialised, 11}, {"bss", &zeroed, 0}, {"heap", heap, 33}} {
				t.Equal(v.name+" of the child", get(c, v.addr), v.want)
				set(c, v.addr, 5)
				t.Equal(v.name+" of the parent, after the child changed its own", get(p, v.addr), v.want)
				set(p, v.addr, 6)
				t.Equal(v.name+" of the child, after the parent changed its own", get(c, v.addr), int64(5))
			}
		},
	},
	{
		ID: "stack-copied", Row: "C6",
		Claim:  "The child has a copy of the stack: the variables of the function that called fork.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			r, w := t.pipe()
			fd := int(w.Fd())
			local := [4]byte{1, 2, 3, 4}
			pid, err := rawfork.Fork()
			if pid == 0 && err == nil {
				told := local
				local[0] = 9
				child.Write(fd, told[:])
				child.Exit(int(local[0]))
			}
			t.Must(err)
			local[1] = 8
			var told [4]byte
			t.readAll(r, told[:])
			status, err := rawfork.Wait(pid)
			t.Must(err)
			t.Equal("the child's copy", told, [4]byte{1, 2, 3, 4})
			t.Equal("the child's, changed", status.ExitStatus(), 9)
			t.Equal("the parent's", local, [4]byte{1, 8, 3, 4})
		},
	},
	{
		ID: "map-private", Row: "C6",
		Claim:  "A private mapping is the child's own: a write of either process is not seen by the other.",
		Source: "POSIX fork(), mmap()",
		Check:  func(t *T) { checkMapping(t, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, false) },
	},
	{
		ID:     "map-shared",
		Claim:  "A shared mapping stays shared: a write of either process is seen by the other.",
		Source: "POSIX fork(), mmap()",
		Check:  func(t *T) { checkMapping(t, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1, true) },
	},
	{
		ID:     "map-file-private",
		Claim:  "A private mapping of a file is the child's own, and no write reaches the file.",
		Source: "POSIX fork(), mmap()",
		Check: func(t *T) {
			file := t.file("unwritten")
			checkMapping(t, unix.MAP_PRIVATE, int(file.Fd()), false)
			t.Equal("the file", t.contents(file)[:9], "unwritten")
		},
	},
	{
		ID:     "map-file-shared",
		Claim:  "A shared mapping of a file stays shared by parent, child and file.",
		Source: "POSIX fork(), mmap()",
		Check: func(t *T) {
			file := t.file("unwritten")
			checkMapping(t, unix.MAP_SHARED, int(file.Fd()), true)
			t.Equal("the file", t.contents(file)[:6], "parent")
		},
	},
	{
		ID:     "maps-kept",
		Claim:  "The child has its parent's mappings, at the same addresses and with the same protection.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			readOnly := p.region(1)
			p.Put(readOnly, "x")
			p.Call(unix.SYS_MPROTECT, readOnly, page, unix.PROT_READ)
			c := p.Fork()
			t.Equal("the child's mappings", layoutOf(c.State(procstate.Maps)), layoutOf(p.State(procstate.Maps)))
			t.Equal("the child's write to a page that is read-only", c.errno(c.Poke(readOnly, []byte("y"))), unix.EFAULT)
			c.Call(unix.SYS_MPROTECT, readOnly, page, unix.PROT_READ|unix.PROT_WRITE)
			c.Put(readOnly, "y")
			t.Equal("the child's, once it allowed itself to write", c.Bytes(readOnly, 1), "y")
			t.Equal("the parent's write to its own, after that", p.errno(p.Poke(readOnly, []byte("z"))), unix.EFAULT)
		},
	},
	{
		ID:     "unmap-own",
		Claim:  "Mappings that either process makes or removes after the fork don't affect the other.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			first, second := p.region(1), p.region(1)
			c := p.Fork()
			c.Call(unix.SYS_MUNMAP, first, page)
			p.Call(unix.SYS_MUNMAP, second, page)
			t.Equal("the child's, removed", c.Touch(first), unix.EFAULT)
			t.Equal("the parent's, after the child removed its own", p.Touch(first), success)
			t.Equal("the child's, after the parent removed its own", c.Touch(second), success)
			t.Equal("the parent's, removed", p.Touch(second), unix.EFAULT)
			third := c.region(1)
			t.Equal("the parent's, where the child made one", p.Touch(third), unix.EFAULT)
		},
	},
	{
		ID:     "break-own",
		Claim:  "The child has its parent's program break, and from then on one of its own.",
		Source: "brk(2); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			start := p.Call(unix.SYS_BRK, 0)
			c := p.Fork()
			t.Equal("the child's break", c.Call(unix.SYS_BRK, 0), start)
			t.Equal("the child's, moved", c.Call(unix.SYS_BRK, start+2*page), start+2*page)
			t.Equal("the parent's, after the child's moved", p.Call(unix.SYS_BRK, 0), start)
		},
	},
	{
		ID: "cow-pages", Row: "C14",
		Claim:  "Fork copies no page: parent and child share each until one of them writes to it, and then that page alone is copied.",
		Source: "fork(2); proc(5)",
		Check: func(t *T) {
			const n, written = 64, 10
			p := t.Fork()
			addr := p.region(n)
			p.fill(addr, n)
			before := p.mapping(addr)
			t.Equal("pages of the parent alone, before", pages(before.PrivateDirty), n)
			c := p.Fork()
			t.Equal("the child's shared pages", pages(c.mapping(addr).SharedDirty), n)
			t.Equal("the parent's shared pages", pages(p.mapping(addr).SharedDirty), n)
			for i := range n {
				c.Bytes(addr+uintptr(i*page), 1)
			}
			t.Equal("the child's shared pages, after it read all", pages(c.mapping(addr).SharedDirty), n)
			for i := range written {
				c.Put(addr+uintptr(i*page), "child")
			}
			t.Equal("the child's own pages, after it wrote to 10", pages(c.mapping(addr).PrivateDirty), written)
			t.Equal("the child's shared pages, after it wrote to 10", pages(c.mapping(addr).SharedDirty), n-written)
			t.Equal("the parent's own pages, after that", pages(p.mapping(addr).PrivateDirty), written)
			for i := range 2 * written {
				p.Put(addr+uintptr(i*page), "parent")
			}
			t.Equal("the child's own pages, after the parent wrote to 20", pages(c.mapping(addr).PrivateDirty), 2*written)
			c.EndAndReap()
			t.Equal("the parent's own pages, after the child's end", pages(p.mapping(addr).PrivateDirty), n)
		},
	},
	{
		ID:     "dontfork",
		Claim:  "Memory with MADV_DONTFORK is not in the child, until MADV_DOFORK undoes it.",
		Source: "fork(2); madvise(2)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(2)
			p.Put(addr, "a")
			p.Put(addr+uintptr(page), "b")
			p.Call(unix.SYS_MADVISE, addr, page, unix.MADV_DONTFORK)
			c := p.Fork()
			t.Equal("the page in the child", c.Touch(addr), unix.EFAULT)
			t.Equal("the page beside it", c.Bytes(addr+uintptr(page), 1), "b")
			t.Equal("the page in the parent", p.Bytes(addr, 1), "a")
			p.Call(unix.SYS_MADVISE, addr, page, unix.MADV_DOFORK)
			t.Equal("the page in the next child, after MADV_DOFORK", p.Fork().Bytes(addr, 1), "a")
		},
	},
	{
		ID:     "wipeonfork",
		Claim:  "Memory with MADV_WIPEONFORK is zero in the child, and in the child's children, until MADV_KEEPONFORK undoes it.",
		Source: "fork(2); madvise(2)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(2)
			p.Put(addr, "a")
			p.Put(addr+uintptr(page), "b")
			p.Need("MADV_WIPEONFORK", []syscall.Errno{unix.EINVAL}, unix.SYS_MADVISE, addr, page, unix.MADV_WIPEONFORK)
			c := p.Fork()
			t.Equal("the page in the child", c.Bytes(addr, 1), "\x00")
			t.Equal("the page beside it", c.Bytes(addr+uintptr(page), 1), "b")
			t.Equal("the page in the parent", p.Bytes(addr, 1), "a")
			c.Put(addr, "c")
			t.Equal("the page in the child's child", c.Fork().Bytes(addr, 1), "\x00")
			c.Call(unix.SYS_MADVISE, addr, page, unix.MADV_KEEPONFORK)
			t.Equal("the page in the child's next child, after MADV_KEEPONFORK", c.Fork().Bytes(addr, 1), "c")
		},
	},
	{
		ID:     "wipeonfork-private",
		Claim:  "MADV_WIPEONFORK is for private anonymous memory only.",
		Source: "madvise(2)",
		Check: func(t *T) {
			file := t.file("x")
			p := t.Fork(int(file.Fd()))
			advise := func(addr uintptr) syscall.Errno {
				return p.Errno(unix.SYS_MADVISE, addr, page, unix.MADV_WIPEONFORK)
			}
			if errno := advise(p.region(1)); errno == unix.EINVAL {
				t.Skip("MADV_WIPEONFORK: %v", errno)
			} else {
				t.Equal("private anonymous memory", errno, success)
			}
			const rw = unix.PROT_READ | unix.PROT_WRITE
			t.Equal("shared memory", advise(p.Map(page, rw, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1)), unix.EINVAL)
			t.Equal("a private mapping of a file", advise(p.Map(page, rw, unix.MAP_PRIVATE, int(file.Fd()))), unix.EINVAL)
		},
	},
	{
		ID:     "map-advice",
		Claim:  "Other advice on a mapping goes over to the child: on huge pages, on core dumps, on read-ahead.",
		Source: "madvise(2); proc(5)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(1)
			p.Call(unix.SYS_MADVISE, addr, page, unix.MADV_DONTDUMP)
			p.Call(unix.SYS_MADVISE, addr, page, unix.MADV_RANDOM)
			c := p.Fork()
			t.Equal("MADV_DONTDUMP in the child", c.flagged(addr, "dd"), true)
			t.Equal("MADV_RANDOM in the child", c.flagged(addr, "rr"), true)
			c.Call(unix.SYS_MADVISE, addr, page, unix.MADV_DODUMP)
			t.Equal("MADV_DONTDUMP in the parent, after the child undid its own", p.flagged(addr, "dd"), true)
			p.Need("MADV_HUGEPAGE", []syscall.Errno{unix.EINVAL}, unix.SYS_MADVISE, addr, page, unix.MADV_HUGEPAGE)
			t.Equal("MADV_HUGEPAGE in the next child", p.Fork().flagged(addr, "hg"), true)
		},
	},
	{
		ID:     "mlock",
		Claim:  "The child does not inherit memory locks of mlock.",
		Source: "POSIX fork(); fork(2); mlock(2)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(4)
			p.Need("mlock", []syscall.Errno{unix.ENOMEM}, unix.SYS_MLOCK, addr, 4*page)
			c := p.Fork()
			t.Equal("locked in the parent", p.mapping(addr).Locked > 0, true)
			t.Equal("locked in the child", c.mapping(addr).Locked, uint64(0))
			t.Equal("the child's mapping is marked as locked", c.flagged(addr, "lo"), false)
			c.Call(unix.SYS_MLOCK, addr, 4*page)
			c.Call(unix.SYS_MUNLOCK, addr, 4*page)
			t.Equal("the parent's is, after the child unlocked its own", p.flagged(addr, "lo"), true)
		},
	},
	{
		ID:     "mlockall",
		Claim:  "The child does not inherit mlockall: neither what is locked nor that what comes is to be locked.",
		Source: "POSIX fork(); mlockall(2)",
		Check: func(t *T) {
			p := t.Fork()
			before := p.region(1)
			// On fault only: the child of a Go program has gigabytes mapped.
			p.Need("mlockall", []syscall.Errno{unix.ENOMEM, unix.EINVAL}, unix.SYS_MLOCKALL,
				unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT)
			c := p.Fork()
			t.Equal("what the parent had is locked", p.flagged(before, "lo"), true)
			t.Equal("what the child has of it is locked", c.flagged(before, "lo"), false)
			t.Equal("what the parent maps from then on is locked", p.flagged(p.region(1), "lo"), true)
			t.Equal("what the child maps from then on is locked", c.flagged(c.region(1), "lo"), false)
		},
	},
	{
		ID:     "shm-attached",
		Claim:  "System V shared memory stays attached in the child, shared, and each process detaches for itself.",
		Source: "POSIX fork(); shmop(2)",
		Check: func(t *T) {
			p := t.Fork()
			id := p.Need("shmget", nil, unix.SYS_SHMGET, unix.IPC_PRIVATE, page, 0o600|unix.IPC_CREAT)
			addr := uintptr(p.Call(unix.SYS_SHMAT, id, 0, 0))
			p.Call(unix.SYS_SHMCTL, id, unix.IPC_RMID, nil)
			attached := func() int {
				var info unix.SysvShmDesc
				p.Call(unix.SYS_SHMCTL, id, unix.IPC_STAT, &info)
				return int(info.Nattch)
			}
			t.Equal("attached before", attached(), 1)
			c := p.Fork()
			t.Equal("attached after", attached(), 2)
			c.Put(addr, "child")
			t.Equal("the parent reads", p.Bytes(addr, 5), "child")
			p.Put(addr, "paren")
			t.Equal("the child reads", c.Bytes(addr, 5), "paren")
			c.Call(unix.SYS_SHMDT, addr)
			t.Equal("attached, after the child detached", attached(), 1)
			t.Equal("the parent reads, after the child detached", p.Bytes(addr, 5), "paren")
		},
	},
	{
		ID:     "userfaultfd",
		Claim:  "Memory that a userfaultfd watches is ordinary memory in the child, as long as the fork event was not asked for.",
		Source: "userfaultfd(2); ioctl_userfaultfd(2)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(1)
			fd := p.userfaultfd(0)
			p.watchMemory(fd, addr)
			c := p.Fork()
			t.Equal("the parent's memory is watched", p.flagged(addr, "um"), true)
			t.Equal("the child's memory is watched", c.flagged(addr, "um"), false)
			t.Equal("the parent's read", p.Touch(addr), unix.EFAULT)
			t.Equal("the child's read", c.Touch(addr), success)
		},
	},
	{
		ID:     "userfaultfd-event",
		Claim:  "With the fork event asked for it is watched in the child too: fork waits until a userfaultfd for the child was read from the parent's.",
		Source: "userfaultfd(2); ioctl_userfaultfd(2)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(1)
			fd := p.userfaultfd(uffdFeatureFork)
			reader := p.Fork()
			p.watchMemory(fd, addr)
			const size = 32 // struct uffd_msg: the event, and from byte 8 on a descriptor
			message := make([]byte, size)
			call := reader.Sleeps(unix.SYS_READ, fd, message, size)
			c := p.Fork()
			_, err := call.Wait()
			t.Must(err)
			t.Equal("the event", message[0], byte(uffdEventFork))
			t.Equal("the child's memory is watched", c.flagged(addr, "um"), true)
			t.Equal("the child's read", c.Touch(addr), unix.EFAULT)
			t.Must(reader.CloseFd(int(message[8])))
			t.Equal("the child's memory is watched, when the new descriptor is closed", c.flagged(addr, "um"), false)
			t.Equal("the parent's memory is watched, after that", p.flagged(addr, "um"), true)
		},
	},
	{
		ID:     "vma-name",
		Claim:  "The name that a process gave to anonymous memory goes over to the child.",
		Source: "PR_SET_VMA(2const)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(1)
			p.Need("PR_SET_VMA_ANON_NAME", []syscall.Errno{unix.EINVAL}, unix.SYS_PRCTL,
				unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, addr, page, "rule")
			t.Equal("the name in the child", p.Fork().mapping(addr).Name, "[anon:rule]")
		},
	},
	{
		ID:     "futex-private",
		Claim:  "A semaphore in private memory is copied: a post in one process wakes nobody in the other.",
		Source: "POSIX fork(), sem_init(); futex(2)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.region(1)
			p.Put(addr, "\x00")
			c := p.Fork()
			c.Sleeps(unix.SYS_FUTEX, addr, futexWait, 0, nil, nil, 0)
			p.Put(addr, "\x01")
			t.Equal("woken by the parent", p.Call(unix.SYS_FUTEX, addr, futexWake, 1, nil, nil, 0), 0)
			t.Equal("the child's value, after the parent changed its own", c.held(addr, 1), "\x00")
		},
	},
	{
		ID:     "futex-shared",
		Claim:  "An unnamed semaphore in shared memory is shared: a post of the parent wakes the child.",
		Source: "POSIX fork(), sem_init(); sem_overview(7)",
		Check: func(t *T) {
			p := t.Fork()
			addr := p.Map(page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1)
			c := p.Fork()
			checkPost(t, p, c, addr)
		},
	},
	{
		ID:     "semaphore-named",
		Claim:  "A named semaphore that the parent had open is open in the child, and shared.",
		Source: "POSIX fork(), sem_open(); sem_overview(7)",
		Check: func(t *T) {
			// On Linux libc keeps one as a file in /dev/shm, mapped shared.
			path := filepath.Join("/dev/shm", filepath.Base(t.Dir()))
			file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				t.Skip("%v", err)
			}
			defer file.Close()
			t.Cleanup(func() { os.Remove(path) })
			t.Must(file.Truncate(int64(page)))
			p := t.Fork(int(file.Fd()))
			addr := p.Map(page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, int(file.Fd()))
			c := p.Fork()
			checkPost(t, p, c, addr)
		},
	},
	{
		ID:     "locks-copied",
		Claim:  "A lock that another thread of the parent held stays locked in the child, where nobody unlocks it.",
		Source: "POSIX fork(), rationale; fork(2)",
		Check: func(t *T) {
			lock := new(sync.Mutex)
			held, end, ended := make(chan bool), make(chan bool), make(chan bool)
			go func() {
				defer close(ended)
				lock.Lock()
				close(held)
				<-end
				lock.Unlock()
			}()
			<-held
			p := t.Fork()
			close(end)
			<-ended
			t.Equal("free in the parent, after its holder unlocked it", lock.TryLock(), true)
			lock.Unlock()
			free := *(*uint64)(unsafe.Pointer(lock))
			t.Equal("free in the child", get(p, (*uint64)(unsafe.Pointer(lock))) == free, false)
			t.Equal("threads in the child", len(p.State(procstate.Threads).Threads), 1)
		},
	},
	{
		ID:     "robust-list",
		Claim:  "The child does not inherit the list of robust futexes that the kernel unlocks at a thread's death.",
		Source: "get_robust_list(2); linux kernel/fork.c",
		Check: func(t *T) {
			p := t.Fork()
			list := func(p *Process) uint64 {
				var head, size uint64
				p.Call(unix.SYS_GET_ROBUST_LIST, 0, &head, &size)
				return head
			}
			addr := p.region(1)
			p.Call(unix.SYS_SET_ROBUST_LIST, addr, 24)
			c := p.Fork()
			t.Equal("the parent's list", list(p), uint64(addr))
			t.Equal("the child's list", list(c), uint64(0))
		},
	},
	{
		ID:     "thp-disable",
		Claim:  "A process that wants no huge pages has children that want none.",
		Source: "PR_SET_THP_DISABLE(2const)",
		Check: func(t *T) {
			checkFlag(t, "the flag", []any{unix.PR_GET_THP_DISABLE, 0, 0, 0, 0}, []any{unix.PR_SET_THP_DISABLE, 1, 0, 0, 0},
				[]any{unix.PR_SET_THP_DISABLE, 0, 0, 0, 0})
		},
	},
	{
		ID:     "memory-merge",
		Claim:  "A process whose memory the kernel may merge has children whose memory it may merge.",
		Source: "PR_SET_MEMORY_MERGE(2const)",
		Check: func(t *T) {
			checkFlag(t, "the flag", []any{unix.PR_GET_MEMORY_MERGE, 0, 0, 0, 0}, []any{unix.PR_SET_MEMORY_MERGE, 1, 0, 0, 0},
				[]any{unix.PR_SET_MEMORY_MERGE, 0, 0, 0, 0})
		},
	},
}

// userfaultfd makes a userfaultfd(2) with features.
func (p *Process) userfaultfd(features uint64) (fd int) {
	const userModeOnly = 1 // a fault in a system call is EFAULT instead of a wait
	fd = p.Need("userfaultfd", nil, unix.SYS_USERFAULTFD, unix.O_CLOEXEC|userModeOnly)
	p.Need("userfaultfd's features", nil, unix.SYS_IOCTL, fd, uffdioAPI, &[3]uint64{0xaa, features})
	return fd
}

// watchMemory has a userfaultfd watch for pages that are missing in a page at addr.
func (p *Process) watchMemory(fd int, addr uintptr) {
	const missing = 1
	p.Call(unix.SYS_IOCTL, fd, uffdioRegister, &[4]uint64{uint64(addr), uint64(page), missing})
}

// checkMapping writes to a mapping of these flags on both sides after the fork.
func checkMapping(t *T, flags, fd int, shared bool) {
	var keep []int
	if fd >= 0 {
		keep = append(keep, fd)
	}
	p := t.Fork(keep...)
	addr := p.Map(page, unix.PROT_READ|unix.PROT_WRITE, flags, fd)
	p.Put(addr, "before")
	c := p.Fork()
	seen := func(own, others string) string {
		if shared {
			return others
		}
		return own
	}
	t.Equal("the child reads", c.Bytes(addr, 6), "before")
	c.Put(addr, "child!")
	t.Equal("the parent reads, after the child wrote", p.Bytes(addr, 6), seen("before", "child!"))
	p.Put(addr, "parent")
	t.Equal("the child reads, after the parent wrote", c.Bytes(addr, 6), seen("child!", "parent"))
}

// checkPost has the child wait at a semaphore in shared memory, and the parent post.
func checkPost(t *T, p, c *Process, addr uintptr) {
	call := c.Sleeps(unix.SYS_FUTEX, addr, futexWait, 0, nil, nil, 0)
	p.Put(addr, "\x01")
	t.Equal("woken by the parent", p.Call(unix.SYS_FUTEX, addr, futexWake, 1, nil, nil, 0), 1)
	_, err := call.Wait()
	t.Must(err)
	t.Equal("the child's value", c.Bytes(addr, 1), "\x01")
	t.Equal("the child's wait, when the value is up", c.Errno(unix.SYS_FUTEX, addr, futexWait, 0, nil, nil, 0), unix.EAGAIN)
}

// checkFlag sets a flag by prctl(2), which is off, in a process, looks whether the
// child has it, and whether it has it for itself.
func checkFlag(t *T, name string, get, on, off []any) {
	p := t.Fork()
	p.Need("prctl", []syscall.Errno{unix.EINVAL}, unix.SYS_PRCTL, on...)
	value := p.Call(unix.SYS_PRCTL, get...)
	c := p.Fork()
	t.Equal(name+" is on in the parent", value != 0, true)
	t.Equal(name+" in the child", c.Call(unix.SYS_PRCTL, get...), value)
	c.Call(unix.SYS_PRCTL, off...)
	t.Equal(name+" in the child, after it turned it off", c.Call(unix.SYS_PRCTL, get...), 0)
	t.Equal(name+" in the parent, after that", p.Call(unix.SYS_PRCTL, get...), value)
}

// layoutOf is what of the mappings is not counted.
func layoutOf(s *procstate.State) []string {
	var lines []string
	for _, m := range s.Maps {
		lines = append(lines, fmt.Sprintf("%x-%x %s %x %s", m.Start, m.End, m.Perms, m.Offset, m.Name))
	}
	return lines
}

// region maps n pages, zero and writable, between two that can't be touched: so the
// kernel doesn't merge them with other mappings.
func (p *Process) region(n int) uintptr {
	addr := p.Map((n+2)*page, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1) + uintptr(page)
	p.Call(unix.SYS_MPROTECT, addr, n*page, unix.PROT_READ|unix.PROT_WRITE)
	return addr
}

// fill writes to each of n pages.
func (p *Process) fill(addr uintptr, n int) {
	for i := range n {
		p.Put(addr+uintptr(i*page), "filled")
	}
}

// mapping is the mapping of addr.
func (p *Process) mapping(addr uintptr) procstate.Map {
	for _, m := range p.State(procstate.Maps).Maps {
		if uint64(addr) >= m.Start && uint64(addr) < m.End {
			return m
		}
	}
	p.t.Fatal("no mapping of %#x in process %d", addr, p.Pid())
	return procstate.Map{}
}

// flagged tells whether the mapping of addr has the flag, by its letters in proc(5).
func (p *Process) flagged(addr uintptr, flag string) bool {
	return slices.Contains(p.mapping(addr).VmFlags, flag)
}
