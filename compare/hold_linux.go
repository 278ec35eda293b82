//go:build cgo && (amd64 || arm64)

package compare

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
)

// hold makes a process that has begun, and waits for release.
func (p *process) hold(method string) (pid int, err error) {
	start, isStarter := p.starter(method)
	switch {
	case method == "osexec":
		pid, err = p.startProcess()
	case method == "fork-only":
		pid, err = p.forkAndHold()
	case method == "ready" || method == "gochild":
		var process *os.Process
		if process, err = p.helper.Go(goHold, p.stampW, p.holdR); err == nil {
			pid = process.Pid
		}
	case !isStarter:
		return 0, fmt.Errorf("method %q can't hold a process", method)
	}
	if isStarter {
		path := p.need.Program
		pid, err = start(path, []string{path}, &syscall.ProcAttr{Env: []string{}, Files: append(p.files(), p.holdR.Fd())})
	}
	if err != nil {
		return 0, err
	}
	var m made
	if err := p.readStamp(&m); err != nil { // until it has begun
		return 0, err
	}
	return pid, nil
}

// startProcess starts the program as os/exec does.
func (p *process) startProcess() (pid int, err error) {
	path := p.need.Program
	process, err := os.StartProcess(path, []string{path}, &os.ProcAttr{
		Env: []string{}, Files: []*os.File{p.null, p.null, p.null, p.stampW, p.holdR}})
	if err != nil {
		return 0, err
	}
	defer process.Release() // release waits for it
	return process.Pid, nil
}

// release ends the process that hold has made and reaps it.
func (p *process) release(pid int) error {
	if _, err := p.holdW.Write([]byte{0}); err != nil {
		return err
	}
	var m made
	return m.wait(pid)
}

// forkAndHold returns in the parent only. The child closes its copy of the pipe's
// writing end, so that it ends should its parent end first.
func (p *process) forkAndHold() (pid int, err error) {
	stamp := (*unix.Timespec)(unsafe.Pointer(unsafe.SliceData(p.shared)))
	text := p.shared[:unsafe.Sizeof(*stamp)]
	return forkAndRead(stamp, text, int(p.stampW.Fd()), int(p.holdR.Fd()), int(p.holdW.Fd()))
}

//go:norace
func forkAndRead(stamp *unix.Timespec, text []byte, stampW, holdR, holdW int) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		// ---- The child. No function that checks its stack from here on. ----
		child.Close(holdW)
		child.Syscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(stamp)), 0, 0, 0, 0)
		child.Write(stampW, text)
		child.Read(holdR, text)
		child.Exit(0)
	}
	return pid, err
}
