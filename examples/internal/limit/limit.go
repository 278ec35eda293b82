//go:build linux

// Package limit has a process meet the limits at which fork fails.
package limit

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// nobody is the ordinary user that root becomes.
const nobody = 65534

// Processes runs try while this user may have no more processes. The limit is
// RLIMIT_NPROC, from which root is exempt: this process becomes an ordinary user
// for good, if it is root's.
//
// Threads are processes to the kernel, and the Go runtime dies if it gets none for a
// while: try should be the shortest of times.
func Processes(try func()) error {
	if os.Geteuid() == 0 {
		if err := errors.Join(unix.Setgid(nobody), unix.Setuid(nobody)); err != nil {
			return fmt.Errorf("become an ordinary user: %w", err)
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	try()
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_NPROC, &limit))
}

// Memory runs try while this process has claimed more memory than there is, of which
// it uses none. It claims it in two steps: one so obvious the kernel refuses. Where the
// system is set to promise all memory that is asked for, or to be strict about each
// claim, it doesn't run try and the error is [errors.ErrUnsupported].
func Memory(try func()) error {
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(mode)) != "0" {
		return fmt.Errorf("vm.overcommit_memory hides ENOMEM: %w", errors.ErrUnsupported)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return os.NewSyscallError("sysinfo", err)
	}
	step := int((info.Totalram+info.Totalswap)*uint64(info.Unit)) / 4 * 3 &^ 0xffff
	claim, err := unix.Mmap(-1, 0, 2*step, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(claim)
	for _, part := range [][]byte{claim[:step], claim[step:]} {
		if err := unix.Mprotect(part, unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return os.NewSyscallError("mprotect", err)
		}
	}
	try()
	return nil
}
