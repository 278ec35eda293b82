package rawfork

import (
	"errors"
	"fmt"
	"syscall"
)

// Method is a way to start a program. All methods have one signature and one
// meaning, that of [syscall.ForkExec] (but for a nil Env), so a caller swaps one word
// to compare them. None falls back to another: what a method can't express is an error
// that names the attribute and the method, and is [errors.ErrUnsupported].
type Method int

const (
	// ByFork is libc's fork, without atfork handlers (_Fork), and a copy of the
	// page tables: it grows with the caller's resident memory. The caller's thread
	// is not suspended by the child, so id maps may be written between fork and
	// exec. With Cloneflags, UseCgroupFD or PidFD, which a fork can't take, the
	// copy is made by clone(2).
	ByFork Method = iota
	// ByVfork is clone(2) with CLONE_VM and CLONE_VFORK: the child borrows the
	// caller's memory and thread until it executes. It costs the same at any size
	// of the heap. It can't do UidMappings and GidMappings without CLONE_NEWUSER
	// in Unshareflags: the parent that must write them is suspended.
	ByVfork
	// BySpawn is posix_spawn(3) of the C library. It costs the same at any size of
	// the heap, and more than ByVfork: glibc's child sets each handler back, of which
	// a Go program has sixty, by two system calls. It can do Dir, Env, Files,
	// Setsid, Setpgid and Pgid. The program gets the RLIMIT_NOFILE that Go has
	// raised, since posix_spawn can't set limits; and an error has no step but
	// posix_spawn itself.
	BySpawn
	// BySyscall is [syscall.ForkExec] itself, the reference, but for a nil Env: see
	// [Method.ForkExec].
	BySyscall
	// ByHelper has the program's helper process make the child, which is the
	// caller's own all the same. It costs the same at any size of the heap and
	// leaves the caller's threads alone. It needs a helper, which package
	// rawfork/helper starts, else the error is [ErrNoHelper]; (*helper.Helper).ForkExec
	// says what is different with it.
	ByHelper
)

// ErrNoHelper is what ByHelper returns in a program that has started no helper.
var ErrNoHelper = errors.New("no helper runs; helper.Start starts one")

var methodNames = [...]string{ByFork: "fork", ByVfork: "vfork", BySpawn: "spawn", BySyscall: "syscall", ByHelper: "helper"}

// Methods returns all methods.
func Methods() []Method { return []Method{ByFork, ByVfork, BySpawn, BySyscall, ByHelper} }

// String returns the method's name: fork, vfork, spawn, syscall or helper.
func (m Method) String() string {
	if m < 0 || int(m) >= len(methodNames) {
		return fmt.Sprintf("method(%d)", int(m))
	}
	return methodNames[m]
}

// ParseMethod returns the method of that name, or EINVAL.
func ParseMethod(name string) (Method, error) {
	for m, n := range methodNames {
		if n == name {
			return Method(m), nil
		}
	}
	return 0, fmt.Errorf("method %q: %w", name, syscall.EINVAL)
}
