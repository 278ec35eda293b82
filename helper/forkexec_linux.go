//go:build cgo && (amd64 || arm64)

package helper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/gate"
	"rawfork/internal/plan"
)

// ForkExec is [syscall.ForkExec] by way of the helper, [rawfork.ByHelper] of this one:
// it starts the program argv0 (a path, no search) with the arguments argv and returns
// its pid, when the program has been executed. The process is the caller's own child,
// to be waited for by [rawfork.Wait], as by wait4(2), [os.FindProcess] or a pidfd. On
// failure it returns 0 and an [*rawfork.ExecError], and there is no child.
//
// It costs the same at any size of the caller's memory, and copies nothing of it. The
// program inherits what a child of the calling thread would: working directory, umask,
// signal mask, ignored signals, limits, process group; ids, capabilities, namespaces,
// session, terminal, root directory, cgroup, scheduling and processor set too, where
// the program still has those of [Start], and where it hasn't, the call is an error
// that names what has changed and is [errors.ErrUnsupported].
//
// What is different from the other methods:
//   - No descriptor of the caller is inherited but those in Files, close-on-exec or
//     not.
//   - Ptrace is unsupported, and so are Cloneflags that share something with the
//     parent: CLONE_FS, CLONE_IO, CLONE_SYSVSEM, CLONE_PTRACE.
//   - More than 253 different descriptors, or 252 where the working directory isn't
//     that of Start any more, are E2BIG.
//   - The signal of Pdeathsig comes when this program ends, not with the thread.
//   - oom_score_adj, I/O priority, timer slack, personality, securebits, coredump
//     filter and keyrings are those of Start, whatever has become of the caller's.
//   - /proc must be mounted.
//
// An error of the helper itself is [ErrClosed] or [ErrEnded]. When the helper is
// killed while it starts a program, the call still returns that program's pid, or
// there is none. Ownership and all else is as [rawfork.Method.ForkExec] says.
func (h *Helper) ForkExec(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	var a syscall.ProcAttr
	if attr != nil {
		a = *attr
	}
	if a.Env == nil {
		a.Env = os.Environ()
	}
	if a.Sys == nil {
		a.Sys = &syscall.SysProcAttr{}
	}
	r, err := h.startProgram(argv0, argv, &a)
	if err == nil {
		if a.Sys.PidFD != nil {
			*a.Sys.PidFD = r.pidfd
		}
		return r.pid, nil
	}
	e := &rawfork.ExecError{Method: rawfork.ByHelper, Path: argv0, Err: h.orClosed(err)}
	var at *plan.Error
	if errors.As(err, &at) {
		e.Step, e.Err = at.Step, at.Err
	}
	return 0, e
}

// sharedFlags are clone flags that tie a child to the process that makes it, which
// here is not the caller.
const sharedFlags = unix.CLONE_FS | unix.CLONE_IO | unix.CLONE_SYSVSEM | unix.CLONE_PTRACE

func (h *Helper) startProgram(argv0 string, argv []string, attr *syscall.ProcAttr) (reply, error) {
	if attr.Sys.Ptrace {
		return reply{}, &plan.Error{Step: "Ptrace", Err: errors.ErrUnsupported}
	}
	if flags := attr.Sys.Cloneflags & sharedFlags; flags != 0 {
		return reply{}, &plan.Error{Step: "Cloneflags", Err: fmt.Errorf("%#x: %w", flags, errors.ErrUnsupported)}
	}
	compiled, err := plan.Compile(argv0, argv, attr)
	if err != nil {
		return reply{}, err
	}
	if h.isClosed() {
		return reply{}, ErrClosed
	}
	request, fds, err := h.encodeExec(compiled)
	if err != nil {
		return reply{}, err
	}
	dir := -1
	request.pidfd = attr.Sys.PidFD != nil
	request.inherit = func() (message inherited, _ []int, err error) {
		message, dir, err = h.inherit()
		if err == nil && dir >= 0 {
			fds = append(fds, dir)
			err = checkFDs(fds)
		}
		return message, fds, err
	}
	generation := gate.Enter()
	r := h.starts.start(request)
	generation.Leave()
	if dir >= 0 {
		unix.Close(dir)
	}
	return h.started(r)
}

// started makes of what the helper said a started program, or an error without a
// child.
func (h *Helper) started(r reply) (reply, error) {
	if r.err == nil || r.err == ErrEnded && r.pid > 0 && hasExecuted(r.pid) {
		return r, nil
	}
	if r.pidfd >= 0 {
		unix.Close(r.pidfd)
	}
	if r.pid > 0 {
		syscall.Kill(r.pid, syscall.SIGKILL) // it has ended, but for one without helper
		rawfork.Wait(r.pid)
	}
	if r.step != 0 {
		return reply{}, &plan.Error{Step: plan.StepName(r.step), Err: r.err}
	}
	return reply{}, r.err
}

// hasExecuted tells whether a child whose helper was killed has become its program.
// The helper's socket has ended, so the child has executed or has ended before.
func hasExecuted(pid int) bool {
	const forkNoExec = 0x40 // PF_FORKNOEXEC of the kernel
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	flags, err := strconv.ParseUint(fields[9-3], 10, 64)
	return err == nil && flags&forkNoExec == 0
}

// encodeExec makes the request, and the list of the descriptors that follow it: in place
// of the caller's, the plan gets indices of these.
func (h *Helper) encodeExec(compiled []byte) (request *startRequest, fds []int, err error) {
	var nproc unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &nproc); err != nil {
		return nil, nil, os.NewSyscallError("getrlimit", err)
	}
	request = new(startRequest)
	numbers, cgroup := plan.FDs(compiled), plan.Cgroup(compiled)
	for i, fd := range numbers {
		numbers[i] = notOpen
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			continue // the step that uses it says EBADF
		}
		if i == cgroup {
			request.cgroup = []int{int(fd)}
			continue
		}
		numbers[i] = int32(len(fds))
		fds = append(fds, int(fd))
	}
	header := execHeader{pgid: cInt(syscall.Getpgrp()), nfds: cUint(len(fds)), nproc: cUint64(nproc.Cur)}
	if header.nproc != h.limits[unix.RLIMIT_NPROC][0] {
		header.set_nproc = 1
	}
	request.body = slices.Concat(unsafe.Slice((*byte)(unsafe.Pointer(&header)), unsafe.Sizeof(header)), compiled)
	return request, fds, checkFDs(fds)
}

func checkFDs(fds []int) error {
	if len(fds) > maxFDs {
		return &plan.Error{Step: "Files", Err: fmt.Errorf("%d descriptors, above %d: %w", len(fds), maxFDs, syscall.E2BIG)}
	}
	return nil
}

// inherit is what a child of the calling thread would inherit. dir, the working directory
// where it isn't the helper's, is the caller's to close; else it is -1.
func (h *Helper) inherit() (message inherited, dir int, err error) {
	c, err := h.caller()
	if err != nil {
		return message, -1, err
	}
	message = inherited{umask: cUint(c.umask), mask: cUint64(c.mask), ignored: cUint64(c.ignored)}
	for i, limit := range c.limits {
		if limit != h.limits[i] {
			message.set_limits |= 1 << i
			message.limits[i] = limit
		}
	}
	if c.dir >= 0 {
		message.flags |= inheritDir
	}
	return message, c.dir, nil
}
