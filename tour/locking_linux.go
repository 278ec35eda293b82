package tour

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// A lock is a way to keep others off a file.
type lock int

const (
	noLock lock = iota
	flock
	fcntl
)

func (k lock) String() string { return [...]string{"no lock", "flock", "fcntl"}[k] }

// The records of the step locking are written in two halves.
const (
	half1, half2 = "one half of a record, ", "and the other half\n"
	records      = 10
)

// locking: C17.
func locking(ctx context.Context, l *Log) (string, error) {
	file, err := os.CreateTemp("", "rawfork-tour-")
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil { // it lives on by its descriptor
		return "", err
	}
	// Each process opens the file anew: flock belongs to the open file description.
	path, err := child.PrepareString(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return "", err
	}
	for _, kind := range []lock{noLock, flock, fcntl} {
		total, broken, err := appendAtOnce(l, file, path, kind)
		// Without a lock all may go well, now and then: again, until it doesn't.
		for kind == noLock && err == nil && broken == 0 && ctx.Err() == nil {
			total, broken, err = appendAtOnce(l, file, path, kind)
		}
		if err != nil {
			return "", err
		}
		l.say("a parent and 2 children append %d records, with %v: %d are mixed", total, kind, broken)
		if total != 3*records || (broken > 0) != (kind == noLock) {
			return "", fmt.Errorf("with %v, %d of %d records are mixed", kind, broken, total)
		}
	}
	if err := dieWithLock(l, path); err != nil {
		return "", err
	}
	return "mixed without a lock, whole with flock and with fcntl locks; a dead process has none", nil
}

// appendAtOnce has three processes append, and counts the records that another
// one has broken into.
func appendAtOnce(l *Log, file *os.File, path *byte, kind lock) (total, broken int, err error) {
	if err := file.Truncate(0); err != nil {
		return 0, 0, err
	}
	var pids []int
	for range 2 {
		pid, err := l.adopt(forkAppend(path, kind))
		if err != nil {
			return 0, 0, err
		}
		pids = append(pids, pid)
	}
	if errno := appendRecords(path, kind); errno != 0 {
		return 0, 0, os.NewSyscallError("append", errno)
	}
	for _, pid := range pids {
		if err := l.waitFor(pid, 0); err != nil {
			return 0, 0, err
		}
	}
	text, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
	if err != nil {
		return 0, 0, err
	}
	whole := strings.Count(string(text), half1+half2)
	total = len(text) / len(half1+half2)
	return total, total - whole, nil
}

//go:norace
func forkAppend(path *byte, kind lock) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		child.Exit(int(appendRecords(path, kind)))
	}
	return pid, err
}

// appendRecords is what each process does, the parent too.
//
//go:nosplit
//go:norace
func appendRecords(path *byte, kind lock) syscall.Errno {
	fd, errno := openAppend(path)
	for i := 0; i < records && errno == 0; i++ {
		if errno = setLock(fd, kind, unix.LOCK_EX, unix.F_WRLCK); errno == 0 {
			child.WriteString(fd, half1)
			child.Sleep(time.Millisecond) // time for others to break in
			child.WriteString(fd, half2)
			errno = setLock(fd, kind, unix.LOCK_UN, unix.F_UNLCK)
		}
		child.Sleep(time.Millisecond)
	}
	if errno == 0 {
		errno = child.Close(fd)
	}
	return errno
}

//go:nosplit
//go:norace
func openAppend(path *byte) (fd int, errno syscall.Errno) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CLOEXEC
	at := unix.AT_FDCWD
	r, errno := child.Syscall(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(path)), flags, 0, 0, 0)
	return int(r), errno
}

//go:nosplit
//go:norace
func setLock(fd int, kind lock, flockHow uintptr, fcntlType int16) (errno syscall.Errno) {
	for {
		switch kind {
		case flock:
			_, errno = child.Syscall(unix.SYS_FLOCK, uintptr(fd), flockHow, 0, 0, 0, 0)
		case fcntl:
			whole := unix.Flock_t{Type: fcntlType}
			_, errno = child.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETLKW, uintptr(unsafe.Pointer(&whole)), 0, 0, 0)
		}
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// dieWithLock kills a process that holds a lock.
func dieWithLock(l *Log, path *byte) error {
	r, w, err := l.pipe()
	if err != nil {
		return err
	}
	goOn, _, err := l.pipe()
	if err != nil {
		return err
	}
	fd, errno := openAppend(path)
	if errno != 0 {
		return os.NewSyscallError("openat", errno)
	}
	l.own(fd)
	pid, err := l.adopt(forkLocker(goOn, w, path))
	if err != nil {
		return err
	}
	l.close(w)
	if _, err := line(r); err != nil {
		return err
	}
	taken := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	l.say("child %d holds the lock: the parent's flock says %v", pid, taken)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	if _, err := l.wait(pid); err != nil {
		return err
	}
	free := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if taken != unix.EWOULDBLOCK || free != nil {
		return fmt.Errorf("flock says %v while the child lives, then %v", taken, free)
	}
	l.say("child %d is killed: the parent has the lock", pid)
	return nil
}

//go:norace
func forkLocker(goOn, w int, path *byte) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		fd, errno := openAppend(path)
		if errno == 0 {
			errno = setLock(fd, flock, unix.LOCK_EX, 0)
		}
		if errno != 0 {
			child.Exit(int(errno))
		}
		child.KeepOnly(goOn, w, fd)
		child.WriteString(w, "locked\n")
		waitForEnd(goOn)
		child.Exit(0)
	}
	return pid, err
}
