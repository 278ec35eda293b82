//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rawfork/internal/forktest"
	"rawfork/internal/ps"
)

// What [rawfork.Method.ForkExec] does better than syscall.ForkExec is still true of it.

// startWithMap is a process that calls syscall.ForkExec with id maps: where these have
// no namespace it never ends.
func startWithMap() {
	sys := &syscall.SysProcAttr{UidMappings: []syscall.SysProcIDMap{{Size: 1}}}
	if os.Args[1] == "empty" {
		sys = &syscall.SysProcAttr{GidMappings: []syscall.SysProcIDMap{}, Unshareflags: syscall.CLONE_NEWUSER}
	}
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Sys: sys})
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	var status syscall.WaitStatus
	syscall.Wait4(pid, &status, 0, nil)
	fmt.Println("started; exit status", status.ExitStatus())
}

// The child waits for the parent to write its id map, and the parent for the child to
// execute.
func TestSyscallForkExecHangsWithIDMap(t *testing.T) {
	cmd := forktest.Command(t, "startWithMap", "hang")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var children []int
	for deadline := time.Now().Add(forktest.Watchdog); !waitForEachOther(cmd.Process.Pid, &children); {
		select {
		case err := <-ended:
			t.Fatalf("it ended (%v): %s: the fault has gone", err, out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Errorf("parent and child don't wait for each other after %v", forktest.Watchdog)
			break
		}
	}
	cmd.Process.Kill()
	<-ended
	for _, pid := range children { // they end with the parent's pipe, and are ours now
		forktest.Wait(t, pid)
	}
}

// waitForEachOther tells whether a child of the process reads while a thread of the
// process is in clone(2): after CLONE_VFORK it is that until the child executes.
func waitForEachOther(pid int, children *[]int) bool {
	*children, _ = ps.Children(pid)
	if len(*children) == 0 || !inCall(fmt.Sprintf("/proc/%d", (*children)[0]), syscall.SYS_READ) {
		return false
	}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		if inCall(fmt.Sprintf("/proc/%d/task/%s", pid, thread.Name()), syscall.SYS_CLONE) {
			return true
		}
	}
	return false
}

func inCall(dir string, number int) bool {
	text, _ := os.ReadFile(dir + "/syscall")
	return strings.HasPrefix(string(text), strconv.Itoa(number)+" ")
}

// syscall.ForkExec reports success, and the program never runs.
func TestSyscallForkExecLosesChildWithEmptyIDMap(t *testing.T) {
	cmd := forktest.Command(t, "startWithMap", "empty")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var buffer bytes.Buffer
	cmd.Stdout = &buffer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(forktest.Watchdog, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer watchdog.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	out := buffer.String()
	if strings.HasPrefix(out, "error:") && strings.Contains(out, "operation not permitted") {
		t.Skip("no user namespace can be made here: ", out)
	}
	if !strings.HasPrefix(out, "started; ") || out == "started; exit status 0\n" {
		t.Errorf("%q: the fault has gone", out)
	}
}
