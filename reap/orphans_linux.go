package reap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/internal/rawcall"
)

// orphans is the Reaper's part that takes orphans.
type orphans struct {
	sigchld chan os.Signal
	done    chan struct{}
	before  int // whether the process was a subreaper, in prctl's words
}

// adopt makes the process a subreaper and takes orphans from now on.
func (r *Reaper) adopt() (*orphans, error) {
	o := &orphans{sigchld: make(chan os.Signal, 1), done: make(chan struct{})}
	if _, err := childrenOfMainThread(); err != nil {
		return nil, err
	}
	var before int32 // prctl writes an int
	if err := rawcall.Prctl(unix.PR_GET_CHILD_SUBREAPER, unsafe.Pointer(&before)); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	o.before = int(before)
	signal.Notify(o.sigchld, syscall.SIGCHLD)
	if err := setSubreaper(1); err != nil {
		signal.Stop(o.sigchld)
		return nil, err
	}
	go func() {
		defer close(o.done)
		for range o.sigchld { // one may stand for many
			for r.takeOrphans() {
			}
		}
	}()
	return o, nil
}

// stop undoes adopt.
func (o *orphans) stop() error {
	signal.Stop(o.sigchld)
	close(o.sigchld)
	<-o.done
	return setSubreaper(o.before)
}

func setSubreaper(on int) error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, uintptr(on), 0, 0, 0))
}

// takeOrphans takes the orphans that have ended, and tells whether there were any.
func (r *Reaper) takeOrphans() bool {
	var exits []Exit
	r.starts.Lock()
	pids, _ := childrenOfMainThread() // it did work: without descriptors there's the next signal
	for _, pid := range pids {
		if exit, ok := r.takeOrphan(pid); ok {
			exits = append(exits, exit)
		}
	}
	r.starts.Unlock()
	for _, exit := range exits {
		r.tell(exit)
	}
	return len(exits) > 0
}

// takeOrphan takes a child that has ended and that is nobody else's. It does so by a
// pidfd, so that all questions are about the same process.
func (r *Reaper) takeOrphan(pid int) (exit Exit, ok bool) {
	r.mu.Lock()
	known := r.children[pid] != nil
	r.mu.Unlock()
	if known {
		return Exit{}, false
	}
	fd, err := rawcall.PidfdOpen(pid)
	if err != nil {
		return Exit{}, false
	}
	defer rawcall.Close(fd)
	if _, ended, err := waitPidfd(fd, unix.WNOWAIT); err != nil || !ended || hasPidfd(pid, fd) {
		return Exit{}, false
	}
	exit, ok, err = waitPidfd(fd, 0)
	exit.Orphan = true
	return exit, ok && err == nil
}

// hasPidfd tells whether this process has a pidfd of pid, but for the one given. When
// that can't be found out, it has.
func hasPidfd(pid, but int) bool {
	entries, err := os.ReadDir("/proc/self/fdinfo")
	if err != nil {
		return true
	}
	line := []byte(fmt.Sprintf("\nPid:\t%d\n", pid))
	for _, entry := range entries {
		if entry.Name() == strconv.Itoa(but) {
			continue
		}
		text, err := os.ReadFile("/proc/self/fdinfo/" + entry.Name())
		if err != nil && !errors.Is(err, os.ErrNotExist) || bytes.Contains(text, line) {
			return true
		}
	}
	return false
}

// childrenOfMainThread lists the children of the main thread, zombies among them. The
// kernel may pass one over when the one before it is just being reaped; then the next
// reading differs, and two that don't are complete.
func childrenOfMainThread() ([]int, error) {
	name := fmt.Sprintf("/proc/self/task/%d/children", os.Getpid())
	var last []byte
	for tries := 0; ; tries++ {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		// Children that come and go all the time bring signals, and with them the
		// next look.
		if tries > 0 && bytes.Equal(text, last) || tries == 100 {
			return numbers(string(text)), nil
		}
		last = text
	}
}

func numbers(text string) (list []int) {
	for _, field := range strings.Fields(text) {
		if n, err := strconv.Atoi(field); err == nil {
			list = append(list, n)
		}
	}
	return list
}
