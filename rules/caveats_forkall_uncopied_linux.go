//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/forkall"
	"rawfork/internal/ccall"
)

// uncopiedCaveats are those of what a child of forkall hasn't got, or has as nobody
// expects: what the kernel keeps of a process or thread and fork(2) doesn't copy, and
// what was memory and isn't true any more.
func uncopiedCaveats() []Caveat {
	return []Caveat{
		keptByThread(Caveat{
			ID:      "forkall-class",
			Claim:   "A thread's scheduling class is the main thread's in a child of forkall.",
			Why:     "The child's threads are made from the main thread, and inherit what nobody sets anew; so it is with niceness.",
			Source:  "clone(2), sched(7)",
			Instead: "setting it anew in the child",
		}, otherClass),
		keptByThread(Caveat{
			ID:      "forkall-credentials",
			Claim:   "A thread that has taken another user id for itself, by a raw system call, has the main thread's in a child of forkall, and its privileges.",
			Why:     "Ids and capabilities are a thread's for the kernel, and the child's threads are made from the main one. syscall.Setuid and libc set them for all threads, which is copied.",
			Source:  "credentials(7), clone(2)",
			Instead: "taking it anew in the child, before anything else",
		}, otherUser),
		keptByThread(Caveat{
			ID:      "forkall-confined",
			Claim:   "A thread that has confined itself is free again in a child of forkall.",
			Why:     "no_new_privs, as here, seccomp filters, landlock rules and namespaces are a thread's, and the child's threads are made from the main one.",
			Source:  "PR_SET_NO_NEW_PRIVS(2const), seccomp(2), clone(2)",
			Instead: "confining all threads, by SECCOMP_FILTER_FLAG_TSYNC or before Go starts; or confining it anew in the child",
		}, noNewPrivileges),
		{
			ID:      "forkall-timer",
			Claim:   "Timers of timer_create(2) and setitimer(2) are not there in a child of forkall, but for those of the CPU profiler.",
			Why:     "They are not inherited, and only the profiler's are made anew.",
			Source:  "POSIX fork(), timer_create(2), setitimer(2)",
			Instead: "timers of package time, which are memory; or making them anew in a hook of forkall.AtFork",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return timersKept(ctx, false) },
			good:    func(ctx context.Context) (string, error) { return timersKept(ctx, true) },
		},
		{
			ID:      "forkall-io-uring",
			Claim:   "An io_uring stays shared: a child of forkall takes the parent's completions.",
			Why:     "Its queues are shared memory, and the kernel knows one ring.",
			Source:  "io_uring(7)",
			Instead: "a ring that the child makes for itself, in a hook of forkall.AtFork",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return completionTaken(ctx, false) },
			good:    func(ctx context.Context) (string, error) { return completionTaken(ctx, true) },
		},
		{
			ID:      "forkall-thread-id",
			Claim:   "A lock of a C library that remembers its owner's thread id can't be released in a child of forkall: recursive, error-checking, robust and priority-inheriting mutexes.",
			Why:     "The thread has a new id there, and so isn't the owner.",
			Source:  "pthread_mutex_unlock(3): EPERM",
			Instead: "a normal mutex, or none that is held at the fork",
			busy:    "idle",
			bad:     func(ctx context.Context) (string, error) { return unlocked(ctx, true) },
			good:    func(ctx context.Context) (string, error) { return unlocked(ctx, false) },
		},
		{
			ID:     "forkall-pending",
			Claim:  "A signal that was pending at the fork doesn't come in a child of forkall.",
			Why:    "The child's set of pending signals is empty.",
			Source: "POSIX fork()",
			busy:   "idle",
			bad:    pendingLost,
		},
		{
			ID:      "forkall-race",
			Claim:   "In a program built with -race a child of forkall that is to end with status 0 ends with the detector's, 66, when a race was found in its parent before.",
			Why:     "The detector's findings are memory, and copied. Apart from that it is at work in the child: TestContract/race of package forkall has it find a race there.",
			Source:  "runtime/race; GORACE=exitcode",
			Instead: "another status than 0 for what went well: with that the detector isn't asked",
			busy:    "idle",
			Build:   []string{"-race"},
			env:     []string{"GORACE=atexit_sleep_ms=0"},
			bad:     func(ctx context.Context) (string, error) { return afterRace(ctx, 0) },
			good:    func(ctx context.Context) (string, error) { return afterRace(ctx, done) },
		},
	}
}

// keptByThread has a thread other than the main one change what is its own, and look at
// that in a child; with care it changes it anew there.
func keptByThread(c Caveat, own func() (change func() error, kept func() bool, err error)) Caveat {
	try := func(ctx context.Context, care bool) (string, error) {
		change, kept, err := own()
		if err != nil {
			return "", err
		}
		ready, ask, answer := make(chan error), make(chan bool), make(chan bool)
		go onEndingThread(func() {
			ready <- change()
			if _, ok := <-ask; !ok {
				return
			}
			if care {
				change()
			}
			answer <- kept()
		})
		if err := <-ready; err != nil {
			return "", err
		}
		defer close(ask)
		return inForkallChild(ctx, forkall.Options{}, func() bool { ask <- true; return <-answer }, "the main thread's")
	}
	c.busy = "idle"
	c.bad = func(ctx context.Context) (string, error) { return try(ctx, false) }
	c.good = func(ctx context.Context) (string, error) { return try(ctx, true) }
	return c
}

// otherClass takes another scheduling class, for which nobody needs a privilege.
func otherClass() (change func() error, kept func() bool, err error) {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("sched_getattr", err)
	}
	other := *own
	other.Policy = unix.SCHED_BATCH
	if own.Policy == unix.SCHED_BATCH {
		other.Policy = unix.SCHED_NORMAL
	}
	change = func() error { return os.NewSyscallError("sched_setattr", unix.SchedSetAttr(0, &other, 0)) }
	kept = func() bool {
		now, err := unix.SchedGetAttr(0, 0)
		return err == nil && now.Policy == other.Policy
	}
	return change, kept, nil
}

// otherUser takes another effective user id.
func otherUser() (change func() error, kept func() bool, err error) {
	const nobody, same = 65534, ^uintptr(0)
	if os.Geteuid() != 0 {
		return nil, nil, fmt.Errorf("only root may take another user's id: %w", errors.ErrUnsupported)
	}
	change = func() error {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, nobody, same); errno != 0 {
			return os.NewSyscallError("setresuid", errno)
		}
		return nil
	}
	return change, func() bool { return unix.Geteuid() == nobody }, nil
}

func noNewPrivileges() (change func() error, kept func() bool, err error) {
	change = func() error {
		return os.NewSyscallError("prctl PR_SET_NO_NEW_PRIVS", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	}
	kept = func() bool {
		set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		return err == nil && set == 1
	}
	return change, kept, nil
}

// timersKept has a child look at timers of the parent's; with care it makes them anew.
func timersKept(ctx context.Context, care bool) (string, error) {
	var timers kernelTimers
	if err := timers.make(); err != nil {
		return "", err
	}
	defer timers.end()
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		if care && timers.make() != nil {
			return false
		}
		posix, interval := timers.there()
		return posix || interval
	}, "none in the child")
	if posix, interval := timers.there(); !posix || !interval {
		err = errors.Join(err, errors.New("a timer is gone in the parent"))
	}
	return how, err
}

// kernelTimers are one of timer_create(2) and that of setitimer(2), for an hour.
type kernelTimers struct{ id int32 }

func (t *kernelTimers) make() error {
	event := struct { // sigevent, which has 64 bytes
		value        uint64
		signal, kind int32
		_            [48]byte
	}{kind: 1} // SIGEV_NONE
	_, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&t.id)))
	if errno != 0 {
		return os.NewSyscallError("timer_create", errno)
	}
	hour := [4]int64{2: 3600} // itimerspec
	if _, _, errno := unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(t.id), 0, uintptr(unsafe.Pointer(&hour)), 0, 0, 0); errno != 0 {
		return os.NewSyscallError("timer_settime", errno)
	}
	_, err := unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Value: unix.Timeval{Sec: 3600}})
	return os.NewSyscallError("setitimer", err)
}

// there tells which of the timers are.
func (t *kernelTimers) there() (posix, interval bool) {
	var left [4]int64
	_, _, errno := unix.RawSyscall(unix.SYS_TIMER_GETTIME, uintptr(t.id), uintptr(unsafe.Pointer(&left)), 0)
	value, err := unix.Getitimer(unix.ITIMER_REAL)
	return errno == 0 && left[2] > 0, err == nil && value.Value.Sec > 0
}

func (t *kernelTimers) end() {
	unix.RawSyscall(unix.SYS_TIMER_DELETE, uintptr(t.id), 0, 0)
	unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{})
}

// completionTaken has a child take a completion of an io_uring, or of one of its own, and
// looks whether the parent's is still there.
func completionTaken(ctx context.Context, care bool) (string, error) {
	r, err := newRing()
	if err != nil {
		return "", err
	}
	defer r.close()
	if err := r.nop(); err != nil {
		return "", err
	}
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		if !care {
			return r.take()
		}
		own, err := newRing()
		return err == nil && own.nop() == nil && own.take()
	}, "no completion in the child")
	if err == nil && how == "" && !r.take() {
		how = "completion taken by the child"
	}
	return how, err
}

// ring is an io_uring for one operation.
type ring struct {
	fd      int
	queues  []byte // both
	entries []byte // what is to be done
	at      ringParams
}

// ringParams is struct io_uring_params.
type ringParams struct {
	_        [5]uint32
	features uint32
	_        [4]uint32
	sq, cq   struct { // where things are in the memory of the queues
		head, tail, _, _, _ uint32
		_                   uint32
		array               uint32 // of the submission queue
		_                   uint32
		_                   uint64
	}
}

func newRing() (r ring, err error) {
	const (
		entries      = 1
		size         = 4096 // more than two queues of one entry take
		entriesAt    = 0x10000000
		oneMapping   = 1 // IORING_FEAT_SINGLE_MMAP, since Linux 5.4
		how          = unix.MAP_SHARED | unix.MAP_POPULATE
		readAndWrite = unix.PROT_READ | unix.PROT_WRITE
	)
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, entries, uintptr(unsafe.Pointer(&r.at)), 0)
	if errno == unix.ENOSYS || errno == unix.EPERM { // it may be forbidden to all but root, or to all
		return r, fmt.Errorf("%w: %w", os.NewSyscallError("io_uring_setup", errno), errors.ErrUnsupported)
	} else if errno != 0 {
		return r, os.NewSyscallError("io_uring_setup", errno)
	}
	r.fd = int(fd)
	if r.at.features&oneMapping == 0 {
		unix.Close(r.fd)
		return r, fmt.Errorf("io_uring: two mappings: %w", errors.ErrUnsupported)
	}
	if r.queues, err = unix.Mmap(r.fd, 0, size, readAndWrite, how); err == nil {
		r.entries, err = unix.Mmap(r.fd, entriesAt, size, readAndWrite, how)
	}
	if err != nil {
		r.close()
	}
	return r, os.NewSyscallError("mmap", err)
}

// nop has the kernel do nothing, and complete that.
func (r ring) nop() error {
	clear(r.entries[:64]) // IORING_OP_NOP is 0
	*r.word(r.at.sq.array) = 0
	atomic.AddUint32(r.word(r.at.sq.tail), 1)
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 1, 1 /* IORING_ENTER_GETEVENTS */, 0, 0)
	if errno != 0 || n != 1 {
		return fmt.Errorf("io_uring_enter: %d submitted: %w", n, errno)
	}
	return nil
}

// take takes a completion, and tells whether there was one.
func (r ring) take() bool {
	head := atomic.LoadUint32(r.word(r.at.cq.head))
	if head == atomic.LoadUint32(r.word(r.at.cq.tail)) {
		return false
	}
	atomic.StoreUint32(r.word(r.at.cq.head), head+1)
	return true
}

func (r ring) word(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[at])) }

func (r ring) close() {
	for _, memory := range [][]byte{r.queues, r.entries} {
		if memory != nil {
			unix.Munmap(memory)
		}
	}
	unix.Close(r.fd)
}

// afterRace has a child race, and fork a child that ends with the given status.
func afterRace(ctx context.Context, status int) (string, error) {
	return inForkallChild(ctx, forkall.Options{}, func() bool {
		race()
		process, err := forkall.Run(func() int { return status })
		if err != nil {
			return false
		}
		state, err := process.Wait()
		return err == nil && state.ExitCode() == status
	}, "not with its own status")
}

// race is what the detector is for.
func race() {
	n, done := 0, make(chan bool)
	go func() {
		n++
		close(done)
	}()
	n++
	<-done
	uncounted = int64(n)
}

// unlocked forks while a C thread holds a mutex, which it releases in the child.
func unlocked(ctx context.Context, recursive bool) (string, error) {
	m, err := ccall.NewMutex(recursive)
	if err != nil {
		return "", err
	}
	defer m.Free()
	locked, release, released := make(chan error), make(chan bool), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		locked <- m.Lock()
		<-release
		released <- m.Unlock()
	}()
	if err := <-locked; err != nil {
		return "", err
	}
	how, err := inForkallChild(ctx, forkall.Options{}, func() bool {
		close(release)
		return <-released == nil
	}, "EPERM in the child")
	close(release)
	return how, errors.Join(err, <-released)
}

// pendingLost forks with a signal pending for the thread that forks.
func pendingLost(ctx context.Context) (how string, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (uint(unix.SIGUSR1) - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		return "", os.NewSyscallError("sigprocmask", err)
	}
	if err := unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGUSR1); err != nil {
		return "", os.NewSyscallError("tgkill", err)
	}
	forkallTurn.Lock()
	pid, err := forkall.Fork()
	if pid == 0 && err == nil {
		// On the same thread, whose mask the child has.
		status := otherwiseStatus
		if took(&set) {
			status = done
		}
		unix.Exit(status)
	}
	forkallTurn.Unlock()
	if !took(&set) {
		err = errors.Join(err, errors.New("no signal pending in the parent"))
	}
	err = errors.Join(err, os.NewSyscallError("sigprocmask", unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)))
	if err != nil {
		return "", err
	}
	how, err = ended(ctx, pid, limit)
	if how == fmt.Sprintf("wait status %#x", otherwiseStatus<<8) {
		how = "not pending in the child"
	}
	return how, err
}

// took takes one of the signals in set that is pending, if there is one.
func took(set *unix.Sigset_t) bool {
	var none unix.Timespec
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(set)), 0, uintptr(unsafe.Pointer(&none)), 8, 0, 0)
	return errno == 0
}
