//go:build amd64 || arm64

package shell

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// parent is the program itself as a process that makes calls, each of which may take a
// time, or until cut is closed: nobody could type anything any more.
type parent struct {
	timeout time.Duration
	cut     <-chan struct{}
}

// Syscall makes a system call. The arguments are integers, strings and []byte.
//
// Precondition: the goroutine is locked to its thread.
func (p parent) Syscall(trap uintptr, args ...any) (uintptr, error) {
	switch trap { // half of the program would be in the child, or none of it left
	case unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_EXECVE, unix.SYS_EXECVEAT:
		return 0, fmt.Errorf("not in the program itself: %w", syscall.EINVAL)
	}
	var values [6]uintptr
	var pinner runtime.Pinner
	defer pinner.Unpin()
	for i, arg := range args {
		var memory []byte
		switch a := arg.(type) {
		case int:
			values[i] = uintptr(a)
			continue
		case string:
			memory = append([]byte(a), 0)
		case []byte:
			memory = a
		default:
			return 0, fmt.Errorf("argument %d is a %T: %w", i+1, arg, syscall.EINVAL)
		}
		start := unsafe.SliceData(memory)
		pinner.Pin(start)
		values[i] = uintptr(unsafe.Pointer(start))
	}
	stop, err := interruptAfter(p.timeout, p.cut)
	if err != nil {
		return 0, err
	}
	r, _, errno := syscall.Syscall6(trap, values[0], values[1], values[2], values[3], values[4], values[5])
	switch late := stop(); {
	case late && errno == syscall.EINTR:
		return r, os.ErrDeadlineExceeded
	case errno != 0:
		return r, errno
	}
	return r, nil
}

// interruption is a signal that nobody else uses, whose handler does nothing.
const interruption = syscall.Signal(64)

// handleInterruption has the signal interrupt a call for good: Go's handlers have it
// restarted.
var handleInterruption = sync.OnceValue(func() error {
	signal.Notify(make(chan os.Signal, 1), interruption)
	var action struct { // the kernel's struct sigaction
		handler  uintptr
		flags    uint64
		restorer uintptr
		mask     uint64
	}
	sigaction := func(set, old unsafe.Pointer) error {
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(interruption), uintptr(set), uintptr(old),
			unsafe.Sizeof(action.mask), 0, 0)
		if errno != 0 {
			return os.NewSyscallError("rt_sigaction", errno)
		}
		return nil
	}
	if err := sigaction(nil, unsafe.Pointer(&action)); err != nil {
		return err
	}
	const restart = 0x10000000 // SA_RESTART
	action.flags &^= restart
	return sigaction(unsafe.Pointer(&action), nil)
})

// interruptAfter interrupts calls of this thread when the limit is over or cut is closed,
// until stop is called, which tells whether it was so.
func interruptAfter(limit time.Duration, cut <-chan struct{}) (stop func() (late bool), err error) {
	if err := handleInterruption(); err != nil {
		return nil, err
	}
	pid, tid := os.Getpid(), unix.Gettid()
	done, wasLate := make(chan struct{}), make(chan bool)
	go func() {
		late := false
		for next := limit; ; next = 10 * time.Millisecond { // the first may come before the call
			select {
			case <-done:
				wasLate <- late
				return
			case <-cut:
				cut = nil
			case <-time.After(next):
			}
			late = true
			unix.Tgkill(pid, tid, interruption)
		}
	}()
	return func() bool { close(done); return <-wasLate }, nil
}

// Peek reads memory. The kernel does it, so a bad address is EFAULT.
func (parent) Peek(addr uintptr, n int) ([]byte, error) {
	b := make([]byte, n)
	return b, copyMemory(unix.ProcessVMReadv, addr, b)
}

// Poke writes memory.
func (parent) Poke(addr uintptr, b []byte) error {
	return copyMemory(unix.ProcessVMWritev, addr, b)
}

func copyMemory(call func(int, []unix.Iovec, []unix.RemoteIovec, uint) (int, error), addr uintptr, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: unsafe.SliceData(b)}}
	local[0].SetLen(len(b))
	n, err := call(os.Getpid(), local, []unix.RemoteIovec{{Base: addr, Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = syscall.EFAULT
	}
	return err
}
