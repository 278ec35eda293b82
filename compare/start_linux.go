//go:build cgo && (amd64 || arm64)

package compare

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/compare/internal/floor"
)

// A starter has the signature of [syscall.ForkExec], as every method of starting a
// program has.
type starter func(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error)

// starter returns the method of that name that starts a program.
func (p *process) starter(name string) (starter, bool) {
	switch name {
	case "fork":
		return rawfork.ByFork.ForkExec, true
	case "vfork":
		return rawfork.ByVfork.ForkExec, true
	case "spawn":
		return rawfork.BySpawn.ForkExec, true
	case "syscall":
		return syscall.ForkExec, true
	case "helper":
		return p.helper.ForkExec, true
	}
	return nil, false
}

var floors = map[string]floor.How{
	"cfork": floor.ForkExec, "cvfork": floor.VforkExec,
	"cfork-only": floor.ForkExit, "cvfork-only": floor.VforkExit,
}

// made is a process that a method has made. Times are of the clock of now.
type made struct {
	start, returned, ended int64
	first                  int64 // 0 where it isn't known
	faults, switches       int64 // of the process
}

// run makes a process by a method, of a kind that ends at once, and waits for it.
func (p *process) run(do turn) (made, error) {
	if how, ok := floors[do.Method]; ok {
		return p.runFloor(how)
	}
	switch {
	case do.Work == workGo && p.helper != nil:
		return p.runGoChild()
	case do.Method == "osexec":
		return p.runCommand(do.Work)
	case do.Method == "fork-only":
		return p.runFork()
	}
	start, ok := p.starter(do.Method)
	if !ok {
		return made{}, fmt.Errorf("method %q can't do %q", do.Method, do.Work)
	}
	path, env := p.program(do.Work)
	attr := &syscall.ProcAttr{Env: env, Files: p.files()}
	m := made{start: now()}
	pid, err := start(path, []string{path}, attr)
	m.returned = now()
	if err != nil {
		return made{}, err
	}
	if err := m.wait(pid); err != nil {
		return made{}, err
	}
	return m, p.readStamp(&m)
}

// program is what the methods execute: a few instructions, or this program in
// another role.
func (p *process) program(w work) (path string, env []string) {
	if w == workGo {
		return "/proc/self/exe", []string{environment + "=" + playStamp}
	}
	return p.need.Program, []string{}
}

func (p *process) files() []uintptr {
	null := p.null.Fd()
	return []uintptr{null, null, null, p.stampW.Fd()}
}

// wait waits for the process, which must end with exit status 0.
func (m *made) wait(pid int) error {
	var status unix.WaitStatus
	var usage unix.Rusage
	for {
		_, err := unix.Wait4(pid, &status, 0, &usage)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return os.NewSyscallError("wait4", err)
		}
	}
	m.ended = now()
	m.faults, m.switches = usage.Minflt, usage.Nvcsw+usage.Nivcsw
	if status != 0 {
		return fmt.Errorf("process %d ended with wait status %#x", pid, int(status))
	}
	return nil
}

// readStamp reads the time that the process has written.
func (p *process) readStamp(m *made) error {
	var ts unix.Timespec
	if _, err := p.stampR.Read(timespecBytes(&ts)); err != nil {
		return err
	}
	m.first = ts.Nano()
	return nil
}

func (p *process) runFloor(how floor.How) (made, error) {
	stamp := (*int64)(unsafe.Pointer(unsafe.SliceData(p.shared)))
	t, err := floor.Run(how, p.need.Program, int(p.stampW.Fd()), stamp)
	if err != nil {
		return made{}, err
	}
	m := made{start: t.Start, returned: t.Returned, ended: t.Ended, first: *stamp, faults: t.Faults, switches: t.Switches}
	if how == floor.ForkExec || how == floor.VforkExec {
		err = p.readStamp(&m)
	}
	return m, err
}

func (p *process) runCommand(w work) (made, error) {
	path, env := p.program(w)
	cmd := &exec.Cmd{Path: path, Args: []string{path}, Env: env, ExtraFiles: []*os.File{p.stampW}}
	m := made{start: now()}
	err := cmd.Start()
	m.returned = now()
	if err != nil {
		return made{}, err
	}
	if err := cmd.Wait(); err != nil {
		return made{}, err
	}
	m.ended = now()
	m.usage(cmd.ProcessState)
	return m, p.readStamp(&m)
}

func (p *process) runGoChild() (made, error) {
	m := made{start: now()}
	process, err := p.helper.Go(goStamp, p.stampW)
	m.returned = now()
	if err != nil {
		return made{}, err
	}
	state, err := process.Wait()
	m.ended = now()
	if err != nil {
		return made{}, err
	}
	if !state.Success() {
		return made{}, fmt.Errorf("child %d: %v", process.Pid, state)
	}
	m.usage(state)
	return m, p.readStamp(&m)
}

func (m *made) usage(state *os.ProcessState) {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		m.faults, m.switches = usage.Minflt, usage.Nvcsw+usage.Nivcsw
	}
}

func (p *process) runFork() (made, error) {
	stamp := (*unix.Timespec)(unsafe.Pointer(unsafe.SliceData(p.shared)))
	m := made{start: now()}
	pid, err := forkAndExit(stamp)
	m.returned = now()
	if err != nil {
		return made{}, err
	}
	err = m.wait(pid)
	m.first = stamp.Nano()
	return m, err
}

// forkAndExit returns in the parent only. stamp is in memory that is shared with
// the child.
//
//go:norace
func forkAndExit(stamp *unix.Timespec) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		child.Syscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(stamp)), 0, 0, 0, 0)
		child.Exit(0)
	}
	return pid, err
}
