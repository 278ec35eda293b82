//go:build linux && cgo && amd64

package forkall_test

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/forkall"
	"rawfork/forkall/internal/cload"
	"rawfork/internal/forktest"
	"rawfork/internal/rawcall"
)

// threadState is what the kernel and libc keep of one thread, but for its id.
type threadState struct {
	Name       string
	Processors unix.CPUSet
	Mask       unix.Sigset_t
	Alternate  signalStack
	Robust     robustList
	TIDAddress uintptr
	TIDThere   bool   // libc's copy of the id is the kernel's
	Rseq       string // what a second registration of glibc's area says: EBUSY when it is registered
	Leader     bool
}

// signalStack is stack_t.
type signalStack struct {
	Base  uintptr
	Flags int32
	Size  uintptr
}

// robustList is what get_robust_list(2) gives.
type robustList struct{ Head, Size uintptr }

// thisThread asks for the state of the calling thread.
func thisThread() (s threadState) {
	name := make([]byte, 16)
	must(0, rawcall.Prctl(unix.PR_GET_NAME, unsafe.Pointer(&name[0])))
	s.Name = unix.ByteSliceToString(name)
	must(0, unix.SchedGetaffinity(0, &s.Processors))
	must(0, unix.PthreadSigmask(unix.SIG_BLOCK, nil, &s.Mask))
	// Each conversion stands in the call itself, so that no growth of the stack can come
	// between: s moves with it.
	_, _, errno := unix.RawSyscall(unix.SYS_SIGALTSTACK, 0, uintptr(unsafe.Pointer(&s.Alternate)), 0)
	must(0, errnoErr(errno))
	_, _, errno = unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0,
		uintptr(unsafe.Pointer(&s.Robust.Head)), uintptr(unsafe.Pointer(&s.Robust.Size)))
	must(0, errnoErr(errno))
	var kept *int32
	must(0, rawcall.Prctl(unix.PR_GET_TID_ADDRESS, unsafe.Pointer(&kept)))
	s.TIDAddress = uintptr(unsafe.Pointer(kept))
	s.TIDThere = int(*kept) == unix.Gettid()
	s.Rseq = fmt.Sprint(cload.Rseq())
	s.Leader = unix.Gettid() == os.Getpid()
	return s
}

func errnoErr(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// The main goroutine of the helper is to run on the main thread.
func init() {
	if forktest.Playing("contract") && os.Args[1] == "threads" {
		runtime.LockOSThread()
	}
}

// threads looks at two threads in parent and child: at the main one, which fork(2) has
// copied, and at one that was made anew, and is another in all than the main one.
func threads(w io.Writer) {
	ask, answer := make(chan bool), make(chan threadState)
	go func() {
		runtime.LockOSThread()
		name := []byte("a thread\x00")
		must(0, rawcall.Prctl(unix.PR_SET_NAME, unsafe.Pointer(&name[0])))
		var one unix.CPUSet
		one.Set(firstProcessor())
		must(0, unix.SchedSetaffinity(0, &one))
		var mask unix.Sigset_t
		mask.Val[0] = 1 << (uint(unix.SIGUSR2) - 1)
		must(0, unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil))
		for range ask {
			answer <- thisThread()
		}
	}()
	both := func() map[string]threadState {
		ask <- true
		return map[string]threadState{"the main one": thisThread(), "a goroutine's": <-answer}
	}
	before := both()
	for name, s := range before {
		// So that to be as before is to be something.
		if s.Leader != (name == "the main one") || s.Alternate.Size == 0 || s.Robust.Head == 0 || !s.TIDThere ||
			s.Rseq != unix.EBUSY.Error() && s.Rseq != unix.ENOSYS.Error() {
			fmt.Fprintf(w, "%s in the parent: %+v\n", name, s)
		}
	}
	pid := must(forkall.Fork())
	if pid == 0 {
		after := both()
		for _, name := range []string{"a goroutine's", "the main one"} {
			how := "as before"
			if diff := cmp.Diff(before[name], after[name]); diff != "" {
				how = "(-parent +child)\n" + diff
			}
			fmt.Fprintf(w, "%s: %s\n", name, how)
		}
		os.Exit(0)
	}
	must(rawfork.Wait(pid))
}
