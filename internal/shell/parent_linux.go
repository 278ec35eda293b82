//go:build amd64 || arm64

package shell

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// parent is the program itself as a process that makes calls.
type parent struct{}

// Syscall makes a system call. The arguments are integers, strings and []byte.
func (parent) Syscall(trap uintptr, args ...any) (uintptr, error) {
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
	r, _, errno := syscall.Syscall6(trap, values[0], values[1], values[2], values[3], values[4], values[5])
	if errno != 0 {
		return r, errno
	}
	return r, nil
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
