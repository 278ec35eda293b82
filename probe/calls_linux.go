//go:build amd64 || arm64

package probe

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Wrappers of the calls that rules on fork are made of. Each wraps the call of
// its name, made by the child: descriptors, pids and addresses are the child's.
// For any other there is Syscall.

// Getpid wraps getpid(2).
func (p *Probe) Getpid() (int, error) { return p.call("getpid", unix.SYS_GETPID) }

// Getppid wraps getppid(2).
func (p *Probe) Getppid() (int, error) { return p.call("getppid", unix.SYS_GETPPID) }

// Gettid wraps gettid(2).
func (p *Probe) Gettid() (int, error) { return p.call("gettid", unix.SYS_GETTID) }

// Getpgid wraps getpgid(2) for the child itself.
func (p *Probe) Getpgid() (int, error) { return p.call("getpgid", unix.SYS_GETPGID, 0) }

// Getsid wraps getsid(2) for the child itself.
func (p *Probe) Getsid() (int, error) { return p.call("getsid", unix.SYS_GETSID, 0) }

// Setsid wraps setsid(2).
func (p *Probe) Setsid() (int, error) { return p.call("setsid", unix.SYS_SETSID) }

// Setpgid wraps setpgid(2). A pid of 0 is the child, a pgid of 0 the pid.
func (p *Probe) Setpgid(pid, pgid int) error {
	return only(p.call("setpgid", unix.SYS_SETPGID, pid, pgid))
}

// Open wraps open(2). The descriptor is the child's.
func (p *Probe) Open(path string, flags int, mode uint32) (int, error) {
	return p.call("open "+path, unix.SYS_OPENAT, unix.AT_FDCWD, path, flags, mode)
}

// CloseFd wraps close(2).
func (p *Probe) CloseFd(fd int) error { return only(p.call("close", unix.SYS_CLOSE, fd)) }

// KeepOnly closes all of the child's descriptors but fds and the probe's own, by
// close_range(2). That one of fds isn't open doesn't matter.
func (p *Probe) KeepOnly(fds ...int) error {
	if i := slices.IndexFunc(fds, func(fd int) bool { return fd < 0 }); i >= 0 {
		return p.wrap("keep only", fmt.Errorf("descriptor %d: %w", fds[i], syscall.EINVAL))
	}
	keep := append([]int{p.theirs}, fds...)
	for first := 0; ; {
		last := math.MaxUint32 // of the gap that begins at first
		for _, fd := range keep {
			if fd >= first && fd-1 < last {
				last = fd - 1
			}
		}
		if first <= last {
			if _, err := p.call("close_range", unix.SYS_CLOSE_RANGE, first, last, 0); err != nil {
				return err
			}
		}
		if last == math.MaxUint32 {
			return nil
		}
		first = last + 2
	}
}

// Dup wraps dup(2).
func (p *Probe) Dup(fd int) (int, error) { return p.call("dup", unix.SYS_DUP, fd) }

// Dup3 wraps dup3(2).
func (p *Probe) Dup3(oldfd, newfd, flags int) (int, error) {
	return p.call("dup3", unix.SYS_DUP3, oldfd, newfd, flags)
}

// Pipe2 wraps pipe2(2): what is written to w is read from r.
func (p *Probe) Pipe2(flags int) (r, w int, err error) {
	var fds [2]int32
	_, err = p.call("pipe2", unix.SYS_PIPE2, &fds, flags)
	return int(fds[0]), int(fds[1]), err
}

// Read wraps read(2). Descriptors of package net are non-blocking: EAGAIN.
func (p *Probe) Read(fd int, b []byte) (int, error) {
	return p.call("read", unix.SYS_READ, fd, b, len(b))
}

// Write wraps write(2). It may write less than all of b.
func (p *Probe) Write(fd int, b []byte) (int, error) {
	return p.call("write", unix.SYS_WRITE, fd, b, len(b))
}

// Lseek wraps lseek(2).
func (p *Probe) Lseek(fd int, offset int64, whence int) (int64, error) {
	n, err := p.call("lseek", unix.SYS_LSEEK, fd, offset, whence)
	return int64(n), err
}

// Fcntl wraps fcntl(2). arg is an integer or a pointer, as of [Probe.Syscall]: a
// *unix.Flock_t for locks.
func (p *Probe) Fcntl(fd, cmd int, arg any) (int, error) {
	return p.call("fcntl", unix.SYS_FCNTL, fd, cmd, arg)
}

// Flock wraps flock(2).
func (p *Probe) Flock(fd, how int) error { return only(p.call("flock", unix.SYS_FLOCK, fd, how)) }

// Ioctl wraps ioctl(2). arg is an integer or a pointer, as of [Probe.Syscall].
func (p *Probe) Ioctl(fd int, request uint, arg any) (int, error) {
	return p.call("ioctl", unix.SYS_IOCTL, fd, request, arg)
}

// EpollCreate1 wraps epoll_create1(2).
func (p *Probe) EpollCreate1(flags int) (int, error) {
	return p.call("epoll_create1", unix.SYS_EPOLL_CREATE1, flags)
}

// EpollCtl wraps epoll_ctl(2). event may be nil for EPOLL_CTL_DEL.
func (p *Probe) EpollCtl(epfd, op, fd int, event *unix.EpollEvent) error {
	return only(p.call("epoll_ctl", unix.SYS_EPOLL_CTL, epfd, op, fd, event))
}

// EpollWait wraps epoll_wait(2): it fills events and returns how many they are.
// A timeout of 0 asks only, one below 0 waits for ever.
func (p *Probe) EpollWait(epfd int, events []unix.EpollEvent, timeout time.Duration) (int, error) {
	msec := -1
	if timeout >= 0 {
		msec = int(timeout.Milliseconds())
	}
	return p.call("epoll_pwait", unix.SYS_EPOLL_PWAIT, epfd, events, len(events), msec, nil, 0)
}

// Umask wraps umask(2) and returns the mask as it was.
func (p *Probe) Umask(mask int) (int, error) { return p.call("umask", unix.SYS_UMASK, mask) }

// Chdir wraps chdir(2).
func (p *Probe) Chdir(path string) error { return only(p.call("chdir "+path, unix.SYS_CHDIR, path)) }

// Getcwd wraps getcwd(2).
func (p *Probe) Getcwd() (string, error) {
	buf := make([]byte, unix.PathMax)
	_, err := p.call("getcwd", unix.SYS_GETCWD, buf, len(buf))
	dir, _, _ := bytes.Cut(buf, []byte{0})
	return string(dir), err
}

// Setitimer wraps setitimer(2): which is ITIMER_REAL, ITIMER_VIRTUAL or
// ITIMER_PROF. Alarm(2) is ITIMER_REAL.
func (p *Probe) Setitimer(which int, value unix.Itimerval) (old unix.Itimerval, err error) {
	_, err = p.call("setitimer", unix.SYS_SETITIMER, which, &value, &old)
	return old, err
}

// Getitimer wraps getitimer(2).
func (p *Probe) Getitimer(which int) (value unix.Itimerval, err error) {
	_, err = p.call("getitimer", unix.SYS_GETITIMER, which, &value)
	return value, err
}

// ClockGettime wraps clock_gettime(2).
func (p *Probe) ClockGettime(clock int) (time.Duration, error) {
	var ts unix.Timespec
	_, err := p.call("clock_gettime", unix.SYS_CLOCK_GETTIME, clock, &ts)
	return time.Duration(ts.Nano()), err
}

// Times wraps times(2): CPU times in clock ticks, of which a second has 100.
func (p *Probe) Times() (tms unix.Tms, err error) {
	_, err = p.call("times", unix.SYS_TIMES, &tms)
	return tms, err
}

// Getrusage wraps getrusage(2): who is RUSAGE_SELF or RUSAGE_CHILDREN.
func (p *Probe) Getrusage(who int) (usage unix.Rusage, err error) {
	_, err = p.call("getrusage", unix.SYS_GETRUSAGE, who, &usage)
	return usage, err
}

// Getrlimit wraps getrlimit(2).
func (p *Probe) Getrlimit(resource int) (limit unix.Rlimit, err error) {
	_, err = p.call("getrlimit", unix.SYS_PRLIMIT64, 0, resource, nil, &limit)
	return limit, err
}

// Setrlimit wraps setrlimit(2).
func (p *Probe) Setrlimit(resource int, limit unix.Rlimit) error {
	return only(p.call("setrlimit", unix.SYS_PRLIMIT64, 0, resource, &limit, nil))
}

// Prctl wraps prctl(2). The arguments are those of [Probe.Syscall].
func (p *Probe) Prctl(option int, args ...any) (int, error) {
	return p.call("prctl", unix.SYS_PRCTL, append([]any{option}, args...)...)
}

// Semop wraps semop(2).
func (p *Probe) Semop(id int, ops []Sembuf) error {
	return only(p.call("semop", unix.SYS_SEMOP, id, ops, len(ops)))
}

// Sembuf is struct sembuf.
type Sembuf struct {
	Num   uint16
	Op    int16
	Flags int16
}

// Mmap wraps mmap(2): the address of length bytes in the child, new to it alone.
// fd is -1 with MAP_ANONYMOUS.
func (p *Probe) Mmap(length, prot, flags, fd int) (uintptr, error) {
	addr, err := p.call("mmap", unix.SYS_MMAP, 0, length, prot, flags, fd, 0)
	return uintptr(addr), err
}

// Place gives the child new memory of its own, with b in it, and returns its
// address: for what a system call finds by a pointer in a structure, such as the
// program of a sock_fprog. The memory can be written too, and takes whole pages.
func (p *Probe) Place(b []byte) (uintptr, error) {
	addr, err := p.Mmap(max(len(b), 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1)
	if err == nil {
		err = p.Poke(addr, b)
	}
	return addr, err
}

// Munmap wraps munmap(2).
func (p *Probe) Munmap(addr uintptr, length int) error {
	return only(p.call("munmap", unix.SYS_MUNMAP, addr, length))
}

// Madvise wraps madvise(2).
func (p *Probe) Madvise(addr uintptr, length, advice int) error {
	return only(p.call("madvise", unix.SYS_MADVISE, addr, length, advice))
}

// Mlock wraps mlock(2).
func (p *Probe) Mlock(addr uintptr, length int) error {
	return only(p.call("mlock", unix.SYS_MLOCK, addr, length))
}

// Mlockall wraps mlockall(2).
func (p *Probe) Mlockall(flags int) error { return only(p.call("mlockall", unix.SYS_MLOCKALL, flags)) }

// Wait4 wraps wait4(2) for the child's own children. pid and options are those
// of the call. A probe's [Probe.Wait] finds its status even so, but for one that
// was reaped here.
func (p *Probe) Wait4(pid, options int) (int, syscall.WaitStatus, error) {
	var status uint32
	wpid, err := p.call("wait4", unix.SYS_WAIT4, pid, &status, options, 0)
	return wpid, syscall.WaitStatus(status), err
}

// Waitid wraps waitid(2) for the child's own children. With WNOHANG the zero
// Siginfo says that there is nothing to tell yet. What [Probe.Wait4] says of a
// probe that was reaped goes for it too: WNOWAIT leaves it.
func (p *Probe) Waitid(idtype, id, options int) (Siginfo, error) {
	var info unix.Siginfo
	_, err := p.call("waitid", unix.SYS_WAITID, idtype, id, &info, options, 0)
	return siginfo(&info), err
}

// only drops the result of a call that is 0.
func only(_ int, err error) error { return err }
