//go:build cgo && (amd64 || arm64)

package rawfork

import (
	"errors"
	"sync"
	"syscall"
)

// idLock is held while a child of vfork may change its ids: see start.h.
var idLock sync.Mutex

func (m Method) start(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	if m == BySyscall {
		if pid, err = syscall.ForkExec(argv0, argv, attr); err != nil {
			return 0, &ExecError{Method: m, Path: argv0, Err: err}
		}
		return pid, nil
	}
	if _, ok := cMethods[m]; !ok {
		return 0, &ExecError{Method: m, Path: argv0, Step: "method", Err: syscall.EINVAL}
	}
	sys := attr.Sys
	if sys == nil {
		sys = &syscall.SysProcAttr{}
	}
	if name := m.unsupported(sys); name != "" {
		return 0, &ExecError{Method: m, Path: argv0, Step: name, Err: errors.ErrUnsupported}
	}
	plan, step, err := compilePlan(argv0, argv, attr, sys)
	if err != nil {
		return 0, &ExecError{Method: m, Path: argv0, Step: step, Err: err}
	}
	if m == ByVfork && (sys.Credential != nil || len(sys.AmbientCaps) > 0 ||
		(sys.Cloneflags|sys.Unshareflags)&syscall.CLONE_NEWUSER != 0) {
		idLock.Lock()
		defer idLock.Unlock()
	}
	generation := enterGate()
	started := cStart(plan, m)
	generation.leave()
	if failure := started.failure; failure.step != 0 {
		return 0, &ExecError{Method: m, Path: argv0,
			Step: cStepName(int32(failure.step)), Err: syscall.Errno(failure.error)}
	}
	if sys.PidFD != nil {
		*sys.PidFD = int(started.pidfd)
	}
	return int(started.pid), nil
}

// unsupported returns the name of an attribute that is set and that the method
// can't express, or "".
func (m Method) unsupported(sys *syscall.SysProcAttr) string {
	maps := sys.UidMappings != nil || sys.GidMappings != nil
	switch {
	case uint64(sys.Cloneflags)&^planClone != 0:
		return "Cloneflags"
	case m == ByVfork && maps && sys.Unshareflags&syscall.CLONE_NEWUSER == 0:
		return "UidMappings and GidMappings without CLONE_NEWUSER in Unshareflags"
	case m != BySpawn:
		return ""
	}
	for _, attribute := range []struct {
		name string
		set  bool
	}{
		{"Chroot", sys.Chroot != ""},
		{"Credential", sys.Credential != nil},
		{"Ptrace", sys.Ptrace},
		{"Setctty", sys.Setctty},
		{"Noctty", sys.Noctty},
		{"Foreground", sys.Foreground},
		{"Pdeathsig", sys.Pdeathsig != 0},
		{"Cloneflags", sys.Cloneflags != 0},
		{"Unshareflags", sys.Unshareflags != 0},
		{"UidMappings", sys.UidMappings != nil},
		{"GidMappings", sys.GidMappings != nil},
		{"AmbientCaps", len(sys.AmbientCaps) > 0},
		{"UseCgroupFD", sys.UseCgroupFD},
		{"PidFD", sys.PidFD != nil},
	} {
		if attribute.set {
			return attribute.name
		}
	}
	return ""
}
