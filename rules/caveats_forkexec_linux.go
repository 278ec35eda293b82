//go:build cgo && (amd64 || arm64)

package rules

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/program"
)

// forkExecCaveats are those of syscall.ForkExec, which the other methods don't have.
func forkExecCaveats() []Caveat {
	return []Caveat{
		{
			ID:      "forkexec-undumpable",
			Claim:   "A Go program that starts another one with other credentials can't be looked at any more: it gives no core dump, and its files in /proc become root's.",
			Why:     "The child of syscall.ForkExec has its parent's memory (CLONE_VM) when it calls setuid, and the kernel marks that memory as not dumpable.",
			Source:  "PR_SET_DUMPABLE in prctl(2); commit_creds() in the kernel",
			Instead: "rawfork.ByVfork or ByFork: one puts the mark back, the other has memory of its own",
			Rare:    true, // it takes root to have another user
			busy:    "idle",
			bad:     func(context.Context) (string, error) { return dumpableAfter(rawfork.BySyscall) },
			good:    func(context.Context) (string, error) { return dumpableAfter(rawfork.ByVfork) },
		},
		{
			ID:      "forkexec-limit",
			Claim:   "syscall.ForkExec says EBADF for a descriptor that is open, when that is the last one that the limit allows.",
			Why:     "It moves descriptors out of the way to numbers above the highest one.",
			Source:  "forkAndExecInChild1 in syscall/exec_linux.go; RLIMIT_NOFILE in getrlimit(2)",
			Instead: "rawfork.ByVfork or ByFork, which take any free number",
			busy:    "idle",
			bad:     func(context.Context) (string, error) { return passHighest(rawfork.BySyscall) },
			good:    func(context.Context) (string, error) { return passHighest(rawfork.ByVfork) },
		},
		{
			ID:      "forkexec-text-busy",
			Claim:   "A program that was just written and closed can't be started, by ETXTBSY, while other goroutines start programs.",
			Why:     "A child of another goroutine has a copy of the descriptor, open for writing, until some time after its execve has let its parent go on.",
			Source:  "golang/go#22315",
			Instead: "rawfork.ByVfork or ByFork, whose children close first and whose starts keep out of each other's way",
			Rare:    true,
			busy:    "idle",
			bad:     func(context.Context) (string, error) { return writeAndStart(rawfork.BySyscall) },
			good:    func(context.Context) (string, error) { return writeAndStart(rawfork.ByVfork) },
		},
	}
}

// started waits for a program that a try has started, if it has.
func started(pid int, err error) error {
	if err == nil {
		_, err = rawfork.Wait(pid)
	}
	return err
}

// dumpableAfter starts a program of another user and looks at this process.
func dumpableAfter(m rawfork.Method) (string, error) {
	const nobody = 65534
	err := started(m.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}}))
	if errors.Is(err, syscall.EPERM) {
		return "", nil // only root can
	}
	if err != nil {
		return "", err
	}
	is, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || is == 1 {
		return "", os.NewSyscallError("prctl", err)
	}
	return "not dumpable", os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
}

// passHighest starts a program with the highest possible descriptor.
func passHighest(m rawfork.Method) (string, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", os.NewSyscallError("getrlimit", err)
	}
	// The kernel's own limit is below a number that doesn't fit a descriptor.
	highest := int(min(limit.Cur, math.MaxInt32)) - 1
	null, err := os.Open(os.DevNull)
	if err != nil {
		return "", err
	}
	defer null.Close()
	fd, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD_CLOEXEC, highest)
	if err != nil {
		return "", os.NewSyscallError("fcntl", err)
	}
	defer unix.Close(fd)
	err = started(m.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Files: []uintptr{uintptr(fd), uintptr(fd)}}))
	if errors.Is(err, syscall.EBADF) {
		return "EBADF", nil
	}
	return "", err
}

// writeAndStart has several goroutines write a program and start it, a few times.
func writeAndStart(m rawfork.Method) (string, error) {
	const writers, times = 6, 4
	dir, err := os.MkdirTemp("", "rawfork-busy")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	errs := make([]error, writers*times)
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for j := range times {
				path := filepath.Join(dir, fmt.Sprint("program", i, "-", j))
				err := os.WriteFile(path, program.Exit(), 0o755)
				if err == nil {
					err = started(m.ForkExec(path, []string{"program"}, nil))
				}
				errs[i*times+j] = err
			}
		})
	}
	group.Wait()
	err = errors.Join(errs...)
	if errors.Is(err, syscall.ETXTBSY) {
		return "ETXTBSY", nil
	}
	return "", err
}
