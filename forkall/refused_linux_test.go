//go:build linux && cgo && amd64

package forkall_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/forkall"
	"rawfork/forkall/internal/cload"
)

// What isn't found exactly once is refused, by an error that names it, and nothing is
// changed by that: where all is as it should be again, the call succeeds.
const refusedWant = `the id nowhere: forkall: the thread ids of this Go runtime are not found: unsupported operation
memory unreadable: forkall: the thread ids of this Go runtime are not found: unsupported operation
no tid address: forkall: the kernel doesn't tell where libc keeps thread ids: unsupported operation
the id in a second m: forkall: the thread ids of this Go runtime are found in several places: unsupported operation
twice there: forkall: the thread ids of this Go runtime are found in several places: unsupported operation
a second m without it, and a second poller: forkall: the poller of this Go runtime is not found: unsupported operation
as it should be: a child
the poller hidden: forkall: the runtime's poller isn't where it was: unsupported operation
as it should be again: a child
`

func refused(w io.Writer) {
	second := newPoller()
	for _, d := range []struct {
		name             string
		number, argument uintptr
	}{
		{"the id nowhere", unix.SYS_GETTID, any0},
		{"memory unreadable", unix.SYS_PROCESS_VM_READV, any0},
		{"no tid address", unix.SYS_PRCTL, unix.PR_GET_TID_ADDRESS},
	} {
		aside(func() {
			deny(d.number, d.argument, 0)
			tryToFork(w, d.name)
		})
	}
	aside(func() {
		cload.Decoy(1)
		tryToFork(w, "the id in a second m")
		cload.Decoy(2)
		tryToFork(w, "twice there")
		cload.Decoy(0)
		tryToFork(w, "a second m without it, and a second poller")
	})
	must(0, second.close())
	tryToFork(w, "as it should be")
	own := findPoller()
	must(0, unix.EpollCtl(own.set, unix.EPOLL_CTL_DEL, own.wake, nil))
	tryToFork(w, "the poller hidden")
	must(0, unix.EpollCtl(own.set, unix.EPOLL_CTL_ADD, own.wake, &own.event))
	tryToFork(w, "as it should be again")
}

const refusedTimersWant = `not profiling: a child
profiling: forkall: a CPU profile is running, whose timers this kernel can't make anew: unsupported operation
`

// refusedTimers profiles where timers can't have the ids that they are asked for.
func refusedTimers(w io.Writer) {
	const restoreIDs = 77 // PR_TIMER_CREATE_RESTORE_IDS
	deny(unix.SYS_PRCTL, restoreIDs, unix.SECCOMP_FILTER_FLAG_TSYNC)
	tryToFork(w, "not profiling")
	must(0, pprof.StartCPUProfile(io.Discard))
	defer pprof.StopCPUProfile()
	tryToFork(w, "profiling")
}

// tryToFork forks, and says whether there was a child.
func tryToFork(w io.Writer, name string) {
	pid, err := forkall.Fork()
	switch {
	case err != nil:
		fmt.Fprintf(w, "%s: %v\n", name, err)
	case pid == 0:
		os.Exit(0)
	default:
		must(rawfork.Wait(pid))
		fmt.Fprintf(w, "%s: a child\n", name)
	}
}

// aside calls f on a thread that ends after it, which isn't the main one: the threads
// of a child are made from that, and have its filters.
func aside(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: so the thread ends
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			aside(f)
			return
		}
		f()
	}()
	<-done
}

// any0 is any first argument.
const any0 = ^uintptr(0)

// deny has a system call fail with that first argument, on the calling thread from now
// on. The errno is one that no call has, and so no word of memory.
func deny(number, argument, flags uintptr) {
	const (
		numberAt, argumentAt = 0, 16 // in struct seccomp_data
		errno                = 4095
		load, equal, give    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{{Code: load, K: numberAt}, {Code: equal, K: uint32(number), Jf: 3}}
	if argument == any0 {
		filter[1].Jf = 1
	} else {
		filter = append(filter, unix.SockFilter{Code: load, K: argumentAt},
			unix.SockFilter{Code: equal, K: uint32(argument), Jf: 1})
	}
	filter = append(filter, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ERRNO | errno},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	must(0, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	if r, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program))); r != 0 || errno != 0 {
		panic(fmt.Sprintf("seccomp: %d, %v", r, errno))
	}
}

// A poller is an epoll set with a registration like that of the runtime's wake-up
// eventfd, whose data is the address of a word with its number.
type poller struct {
	set, wake int
	event     unix.EpollEvent
	word      *uint64
}

func newPoller() poller {
	p := poller{set: must(unix.EpollCreate1(unix.EPOLL_CLOEXEC)), wake: must(unix.Eventfd(0, unix.EFD_CLOEXEC)), word: new(uint64)}
	*p.word = uint64(p.wake)
	p.event.Events = unix.EPOLLIN
	p.setData(uint64(uintptr(unsafe.Pointer(p.word))))
	must(0, unix.EpollCtl(p.set, unix.EPOLL_CTL_ADD, p.wake, &p.event))
	return p
}

func (p *poller) setData(data uint64) { p.event.Fd, p.event.Pad = int32(data), int32(data>>32) }

func (p *poller) close() error {
	runtime.KeepAlive(p.word)
	return errors.Join(unix.Close(p.set), unix.Close(p.wake))
}

// findPoller finds the runtime's own: no other set of this program has an eventfd.
func findPoller() (p poller) {
	for _, path := range must(filepath.Glob("/proc/self/fdinfo/*")) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the descriptor by which the directory was read
		}
		fmt.Sscan(filepath.Base(path), &p.set)
		for line := range strings.Lines(string(text)) {
			var data uint64
			n, _ := fmt.Sscanf(line, "tfd: %d events: %x data: %x", &p.wake, &p.event.Events, &data)
			target, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", p.wake))
			if n == 3 && target == "anon_inode:[eventfd]" {
				p.setData(data)
				return p
			}
		}
	}
	panic("no poller")
}
