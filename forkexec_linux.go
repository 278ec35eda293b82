//go:build cgo && (amd64 || arm64)

package rawfork

import (
	"errors"
	"sync"
	"syscall"

	"rawfork/internal/byhelper"
	"rawfork/internal/gate"
	"rawfork/internal/plan"
)

// hows are the methods that run a plan.
var hows = map[Method]plan.How{ByFork: plan.Fork, ByVfork: plan.Vfork, BySpawn: plan.Spawn}

// idLock is held while a child of vfork may change its ids: see plan.Start.
var idLock sync.Mutex

func (m Method) start(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	switch m {
	case BySyscall:
		pid, err = syscall.ForkExec(argv0, argv, attr)
	case ByHelper:
		forkExec := byhelper.ForkExec()
		if forkExec == nil {
			return 0, &ExecError{Method: m, Path: argv0, Err: ErrNoHelper}
		}
		return forkExec(argv0, argv, attr)
	default:
		pid, err = m.startPlan(argv0, argv, attr)
	}
	if err == nil {
		return pid, nil
	}
	e := &ExecError{Method: m, Path: argv0, Err: err}
	var at *plan.Error
	if errors.As(err, &at) {
		e.Step, e.Err = at.Step, at.Err
	}
	return 0, e
}

func (m Method) startPlan(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	how, ok := hows[m]
	if !ok {
		return 0, &plan.Error{Step: "method", Err: errors.ErrUnsupported}
	}
	sys := attr.Sys
	if sys == nil {
		sys = &syscall.SysProcAttr{}
	}
	if attribute := m.unsupported(sys); attribute != "" {
		return 0, &plan.Error{Step: attribute, Err: errors.ErrUnsupported}
	}
	bytes, err := plan.Compile(argv0, argv, attr)
	if err != nil {
		return 0, err
	}
	if m == ByVfork && changesIDs(sys) {
		idLock.Lock()
		defer idLock.Unlock()
	}
	generation := gate.Enter()
	pid, pidfd, err := plan.Start(bytes, how)
	generation.Leave()
	if err == nil && sys.PidFD != nil {
		*sys.PidFD = pidfd
	}
	return pid, err
}

func changesIDs(sys *syscall.SysProcAttr) bool {
	return sys.Credential != nil || len(sys.AmbientCaps) > 0 ||
		(sys.Cloneflags|sys.Unshareflags)&syscall.CLONE_NEWUSER != 0
}

// unsupported returns the name of an attribute that is set and that the method
// can't express, or "".
func (m Method) unsupported(sys *syscall.SysProcAttr) string {
	maps := sys.UidMappings != nil || sys.GidMappings != nil
	switch {
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
