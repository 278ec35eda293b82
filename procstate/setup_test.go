//go:build linux

package procstate_test

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/internal/rawcall"
)

// setups are what a subject does to itself before it says what it is.
var setups = map[string]func() error{
	"plain":        func() error { return nil },
	"ids":          setIDs,
	"capabilities": setCapabilities,
	"umask":        func() error { unix.Umask(0o137); return nil },
	"cwd":          func() error { return os.Chdir("/proc/self/fd") },
	"session":      func() error { _, err := unix.Setsid(); return err },
	"name": func() error {
		name := append([]byte("a) (b\n\xff c: "), 0)
		return rawcall.Prctl(unix.PR_SET_NAME, unsafe.Pointer(&name[0]))
	},
	"ignored": func() error { signal.Ignore(unix.SIGHUP, unix.SIGUSR2); return nil },
	"pending": setPending,
	"limits": func() error {
		return errors.Join(
			unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 5, Max: 10}),
			unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &unix.Rlimit{Cur: 1, Max: 2}),
			unix.Setrlimit(unix.RLIMIT_NICE, &unix.Rlimit{Cur: 0, Max: 0}))
	},
	"batch": func() error {
		return errors.Join(
			unix.Setpriority(unix.PRIO_PROCESS, 0, 5),
			scheduler(unix.SCHED_BATCH, 0),
			unix.Prctl(unix.PR_SET_TIMERSLACK, 123456, 0, 0, 0))
	},
	"fifo": func() error { return scheduler(unix.SCHED_FIFO, 7) },
	"affinity": func() error {
		var set unix.CPUSet
		set.Set(0)
		return unix.SchedSetaffinity(0, &set)
	},
	"privileges": setPrivileges,
	"personality": func() error {
		_, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, 0x0040000, 0, 0) // ADDR_NO_RANDOMIZE
		return errnoError(errno)
	},
	"proc": func() error {
		return errors.Join(
			os.WriteFile("/proc/self/oom_score_adj", []byte("77"), 0),
			os.WriteFile("/proc/self/coredump_filter", []byte("0x7f"), 0))
	},
	"descriptors": setDescriptors,
	"locks":       setLocks,
	"timers":      setTimers,
	"maps":        setMaps,
	"uts":         func() error { return unix.Unshare(unix.CLONE_NEWUTS) },
	"childless":   func() error { return unix.Unshare(unix.CLONE_NEWPID) },
}

func errnoError(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func setIDs() error {
	return errors.Join(
		unix.Setgroups([]int{40, 7, 3000000000}),
		unix.Setresgid(11, 12, 13),
		unix.Setresuid(21, 22, 23))
}

// setCapabilities makes five sets that all differ.
func setCapabilities() error {
	const chown, kill, netRaw, sysPtrace = unix.CAP_CHOWN, unix.CAP_KILL, unix.CAP_NET_RAW, unix.CAP_SYS_PTRACE
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYSLOG, 0, 0, 0); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{
		Inheritable: 1<<chown | 1<<kill,
		Permitted:   1<<chown | 1<<kill | 1<<netRaw | 1<<sysPtrace,
		Effective:   1<<netRaw | 1<<sysPtrace,
	}}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, kill, 0, 0)
}

// setPending leaves SIGUSR1 pending for the main thread and SIGRTMIN+1 for the
// process: the test starts this subject with both blocked, in every thread.
func setPending() error {
	return errors.Join(
		unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGUSR1),
		unix.Kill(os.Getpid(), 35))
}

func scheduler(policy int, priority int32) error {
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, uintptr(policy), uintptr(unsafe.Pointer(&priority)))
	return errnoError(errno)
}

// setPrivileges ends with a filter that allows every system call.
func setPrivileges() error {
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	program := unix.SockFprog{Len: 1, Filter: &allow}
	err := errors.Join(
		unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	return errors.Join(err, errnoError(errno))
}

// setDescriptors opens what the test expects at 20 and above, in the directory
// that is its second argument.
func setDescriptors() error {
	if err := os.Chdir(os.Args[2]); err != nil {
		return err
	}
	open := func(name string, flags, at int) error {
		fd, err := unix.Open(name, flags|unix.O_CREAT, 0o600)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Dup3(fd, at, flags&unix.O_CLOEXEC)
	}
	err := errors.Join(
		open("plain", unix.O_RDWR|unix.O_CLOEXEC, 20),
		open("append", unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_DSYNC, 21),
		open("new\nline \xff", unix.O_RDWR, 22),
		open("named (deleted)", unix.O_RDWR, 23),
		open("gone", unix.O_RDWR, 24),
		open("gone (deleted)", unix.O_RDWR, 25),
		os.Remove("gone"), os.Remove("gone (deleted)"))
	if err != nil {
		return err
	}
	if _, err := unix.Seek(20, 4096, 0); err != nil {
		return err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK); err != nil {
		return err
	}
	memory, err := unix.MemfdCreate("m (deleted)", 0)
	return errors.Join(err, unix.Dup3(pipe[0], 26, 0), unix.Dup3(memory, 27, 0))
}

// setLocks takes a lock of each kind on files of its own, at descriptors 20 to 22.
func setLocks() error {
	for i, name := range []string{"posix", "flock", "ofd"} {
		fd, err := unix.Open(os.Args[2]+"/"+name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Dup3(fd, 20+i, unix.O_CLOEXEC); err != nil {
			return err
		}
		unix.Close(fd) // before the locks: it would free the POSIX one
	}
	return errors.Join(
		unix.FcntlFlock(20, unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 5}),
		unix.Flock(21, unix.LOCK_SH),
		unix.FcntlFlock(22, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
}

func setTimers() error {
	type event struct {
		value  uint64
		signal int32
		notify int32
		_      [48]byte
	}
	var id int32
	create := func(clock int, e *event) error {
		_, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, uintptr(clock),
			uintptr(unsafe.Pointer(e)), uintptr(unsafe.Pointer(&id)))
		return errnoError(errno)
	}
	return errors.Join(
		create(unix.CLOCK_MONOTONIC, &event{value: 0x1234, signal: 34}),
		create(unix.CLOCK_REALTIME, &event{notify: 1})) // SIGEV_NONE
}

// setMaps maps three pages of a file with a difficult name, and memory that fork
// leaves out, and says where in its name.
func setMaps() error {
	file, err := unix.Open(os.Args[2]+"/two  spaces\nand more (deleted)", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(file, 3*4096); err != nil {
		return err
	}
	shared, err := unix.Mmap(file, 0, 3*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	shared[0] = 1
	private, err := unix.Mmap(-1, 0, 5*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	if err := unix.Madvise(private, unix.MADV_DONTFORK); err != nil {
		return err
	}
	private[0], private[4096] = 1, 1
	return os.WriteFile(os.Args[2]+"/address", []byte(uintptrText(&private[0])), 0o600)
}
