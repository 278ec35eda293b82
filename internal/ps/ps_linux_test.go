package ps

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A process is compared with what ps(1) says of it, alive and as a zombie.
func TestAgainstPs(t *testing.T) {
	program, err := exec.LookPath("ps")
	if err != nil {
		t.Skip("no ps(1) here: ", err)
	}
	cmd := exec.Command("cat", "-", "a b")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	defer cmd.Wait()

	unix.Kill(pid, unix.SIGSTOP)
	waitid(t, pid, unix.WSTOPPED|unix.WNOWAIT)
	compare(t, program, pid, 'T')
	if children, err := Children(os.Getpid()); err != nil || !slices.Contains(children, pid) {
		t.Errorf("children: %v, %v, want %d among them", children, err, pid)
	}
	unix.Kill(pid, unix.SIGCONT)
	stdin.Close()
	waitid(t, pid, unix.WEXITED|unix.WNOWAIT)
	compare(t, program, pid, 'Z')
	if children, err := Children(os.Getpid()); err != nil || !slices.Contains(children, pid) {
		t.Errorf("children: %v, %v, want the zombie %d among them", children, err, pid)
	}
}

func waitid(t *testing.T, pid, options int) {
	t.Helper()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, options, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("waitid %d: %v", pid, err)
		}
	}
}

func compare(t *testing.T, program string, pid int, state byte) {
	t.Helper()
	if got, err := State(pid); err != nil || got != state {
		t.Errorf("state %q, %v, want %q", got, err, state)
	}
	line, err := Line(pid)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "wwhx", "-q", strings.Fields(line)[0]).Output()
	if err != nil {
		t.Fatalf("ps: %v", err)
	}
	// ps makes the first column as wide as this system's longest pid.
	if got, want := strings.TrimSpace(line), strings.TrimSpace(string(out)); got != want {
		t.Errorf("(-want +got)\n- %q\n+ %q", want, got)
	}
}

func TestNoProcess(t *testing.T) {
	for _, pid := range []int{-1, 0, 1 << 30} {
		if line, err := Line(pid); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("Line(%d): %q, %v, want ESRCH", pid, line, err)
		}
		if _, err := State(pid); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("State(%d): %v, want ESRCH", pid, err)
		}
		if children, err := Children(pid); pid != 0 && (err != nil || len(children) > 0) {
			t.Errorf("Children(%d): %v, %v, want none", pid, children, err)
		}
	}
}
