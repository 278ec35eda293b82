//go:build cgo && (amd64 || arm64)

package inherit

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The signals of the preparation. The pending one does nothing when it is let in, the
// ignored one nothing by design.
const (
	pendingSignal = unix.SIGWINCH
	ignoredSignal = unix.SIGUSR2
)

// prepare gives this process and this thread what a child may keep or lose, and
// returns how to take it back.
func prepare() (takeBack func() error, err error) {
	var undo []func() error
	takeBack = func() error {
		var errs []error
		for i := len(undo) - 1; i >= 0; i-- {
			errs = append(errs, undo[i]())
		}
		return errors.Join(errs...)
	}
	for _, step := range []struct {
		name string
		do   func() (undo func() error, err error)
	}{
		{"block a signal", blockSignal},
		{"ignore a signal", ignoreSignal},
		{"make a timer", makeTimer},
		{"lock a file", lockFile},
		{"map memory", mapMemory},
	} {
		back, err := step.do()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", step.name, err), takeBack())
		}
		undo = append(undo, back)
	}
	return takeBack, nil
}

// blockSignal blocks a signal and has it pending.
func blockSignal() (func() error, error) {
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (pendingSignal - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		return nil, err
	}
	back := func() error { return unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }
	if err := unix.Tgkill(unix.Getpid(), unix.Gettid(), pendingSignal); err != nil {
		return nil, errors.Join(err, back())
	}
	return back, nil
}

func ignoreSignal() (func() error, error) {
	if signal.Ignored(ignoredSignal) {
		return func() error { return nil }, nil
	}
	signal.Ignore(ignoredSignal)
	return func() error { // Reset leaves an ignored signal ignored
		c := make(chan os.Signal, 1)
		signal.Notify(c, ignoredSignal)
		signal.Stop(c)
		return nil
	}, nil
}

// makeTimer makes a POSIX timer that isn't set and sends nothing.
func makeTimer() (func() error, error) {
	event := struct {
		_         uint64 // sigev_value
		_, notify int32
		_         [48]byte
	}{notify: 1} // SIGEV_NONE
	var id int32
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC,
		uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&id)))
	if errno != 0 {
		return nil, os.NewSyscallError("timer_create", errno)
	}
	return func() error {
		if _, _, errno := unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0); errno != 0 {
			return os.NewSyscallError("timer_delete", errno)
		}
		return nil
	}, nil
}

// lockFile opens a file twice over: by a descriptor that is close-on-exec and one that
// isn't, with a record lock of the process's and a flock of the description's.
func lockFile() (func() error, error) {
	file, err := os.CreateTemp("", "rawfork-diff")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	file.WriteString("text")
	kept, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD, 0)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	back := func() error { return errors.Join(unix.Close(kept), file.Close()) }
	record := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET, Len: 4}
	err = errors.Join(unix.FcntlFlock(file.Fd(), unix.F_SETLK, &record), unix.Flock(kept, unix.LOCK_EX))
	if err != nil {
		return nil, errors.Join(err, back())
	}
	return back, nil
}

// mapMemory maps a page for each way that memory can be told to behave at a fork.
func mapMemory() (func() error, error) {
	var maps [][]byte
	back := func() (err error) {
		for _, m := range maps {
			err = errors.Join(err, unix.Munmap(m))
		}
		return err
	}
	for _, advice := range []struct {
		name string
		tell func([]byte) error
	}{
		{"dontfork", func(m []byte) error { return unix.Madvise(m, unix.MADV_DONTFORK) }},
		{"wipeonfork", func(m []byte) error { return unix.Madvise(m, unix.MADV_WIPEONFORK) }},
		{"locked", unix.Mlock},
	} {
		m, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return nil, errors.Join(err, back())
		}
		maps = append(maps, m)
		if err := advice.tell(m); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", advice.name, err), back())
		}
		nameMemory(m, advice.name)
	}
	return back, nil
}

// nameMemory has /proc show a name with the mapping, where the kernel can.
func nameMemory(m []byte, name string) {
	text, err := syscall.BytePtrFromString(name)
	if err != nil {
		return
	}
	unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, uintptr(unsafe.Pointer(&m[0])),
		uintptr(len(m)), uintptr(unsafe.Pointer(text)))
	runtime.KeepAlive(text)
}
