package rawfork

import "syscall"

// ForkExec is [syscall.ForkExec] over fork(2): it starts the program argv0 with
// the arguments argv and returns its pid. It is ByFork.ForkExec; see
// [Method.ForkExec].
func ForkExec(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	return ByFork.ForkExec(argv0, argv, attr)
}

// ForkExec starts the program argv0 (a path, no search) with the arguments argv
// by the method m, and returns its pid, to be waited for by [Wait]. It returns
// when the program has been executed. On failure it returns 0 and an
// [*ExecError], and there is no child.
//
// Signature and meaning are those of [syscall.ForkExec], but for one thing: a nil
// Env is the caller's environment, as it is in os.StartProcess and os/exec.
// syscall.ForkExec starts a program without any environment then, which here is an
// empty Env that isn't nil. A nil attr is the zero one, whose Env is nil. That holds
// for every method, BySyscall too.
//
// All attributes of linux are done, in the same order. Of Cloneflags only those of the
// namespaces, and those that stay within the child: another, as CLONE_FILES or
// CLONE_PARENT, which would have the child close its parent's descriptors or be a child
// that the parent can't reap, is [errors.ErrUnsupported] for any method but BySyscall.
// Better than there:
//   - An error names the step that failed.
//   - *PidFD is written on success only.
//   - A program that was written and closed before the call is executed without
//     ETXTBSY, although other goroutines start programs by ByFork, ByVfork and ByHelper all
//     the time (https://go.dev/issue/22315), if its descriptor was below 256: see
//     internal/gate. A child of BySpawn or of package syscall may still get in the
//     way, and so may one of [Fork].
//   - The program's descriptors and a low RLIMIT_NOFILE don't get in each other's
//     way, and neither do they with closed standard descriptors.
//   - The caller stays dumpable when the program's credentials are others.
//   - A number in Files above the largest int32 is EBADF. There its lower half is taken
//     for the descriptor.
//   - With id maps and no user namespace there is an error instead of a parent that
//     waits for ever, and with an empty id map instead of a child that dies unseen.
//   - A clone that fails, with id maps to be written by the parent, leaves no pipe open.
//   - An ambient capability above 63 is EINVAL instead of a crash of the child.
//
// Ownership: descriptors of Files stay the caller's. The pidfd is the caller's
// to close, and close-on-exec.
//
// Precondition: with Ptrace or Pdeathsig, runtime.LockOSThread, since both follow
// the thread that forked.
func (m Method) ForkExec(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	var a syscall.ProcAttr
	if attr != nil {
		a = *attr
	}
	if a.Env == nil {
		a.Env = syscall.Environ()
	}
	return m.start(argv0, argv, &a)
}
