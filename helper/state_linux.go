//go:build cgo && (amd64 || arm64)

package helper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork/internal/plan"
)

// A child of syscall.ForkExec inherits from the thread that called it, a child of
// the helper from the helper. What may have changed since the helper's start is
// therefore looked at in each call of ForkExec: some of it travels with the request,
// and for the rest a difference is an error.

// state is what can't travel: the values of stateNames, as text.
type state [len(stateNames)]string

// stateNames are what an error calls the parts of a state. First those that stand in
// /proc/PID/status, under these names.
var stateNames = [...]string{
	"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
	"NoNewPrivs", "Seccomp", "Seccomp_filters", "Speculation_Store_Bypass",
	"SpeculationIndirectBranch", "Cpus_allowed", "Mems_allowed",
	"session", "terminal", "nice", "real-time priority", "scheduling policy",
	"cgroup", "root directory",
	"cgroup namespace", "ipc namespace", "mnt namespace", "net namespace", "pid namespace of children",
	"time namespace of children", "user namespace", "uts namespace",
}

// Where the parts begin that aren't of the status file.
const (
	statNames   = 15
	cgroupName  = statNames + len(statFields)
	rootName    = cgroupName + 1
	firstNSName = rootName + 1
)

// statFields are the numbers of the fields of /proc/PID/stat, as in proc(5).
var statFields = [...]int{6, 7, 19, 40, 41}

var nsFiles = [...]string{"cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts"}

var stateIndex = func() map[string]int {
	index := map[string]int{}
	for i, name := range stateNames[:statNames] {
		index[name] = i
	}
	return index
}()

// caller is what travels with a request.
type caller struct {
	umask         uint32
	mask, ignored uint64 // signals
	pgid          int
	limits        [limits]syscall.Rlimit
	dir           int // O_PATH, the receiver's to close; -1 where it is the helper's
}

// readState reads the state of the process or thread whose directory in /proc it
// gets, and of what travels the parts that stand in the same files.
func readState(dir string) (s state, c caller, err error) {
	var buffer [4096]byte
	text, err := readFile(dir+"/status", buffer[:0])
	if err != nil {
		return s, c, err
	}
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "Umask":
			umask, _ := strconv.ParseUint(string(value), 8, 32)
			c.umask = uint32(umask)
		case "SigBlk":
			c.mask, _ = strconv.ParseUint(string(value), 16, 64)
		case "SigIgn":
			c.ignored, _ = strconv.ParseUint(string(value), 16, 64)
		default:
			if i, ok := stateIndex[string(name)]; ok {
				s[i] = string(value)
			}
		}
	}
	if text, err = readFile(dir+"/stat", buffer[:0]); err != nil {
		return s, c, err
	}
	// Field 2, the name, ends at the last parenthesis, whatever is in it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	for i, number := range statFields {
		s[statNames+i] = fields[number-3]
	}
	c.pgid, _ = strconv.Atoi(fields[5-3])
	if text, err = readFile(dir+"/cgroup", buffer[:0]); err != nil && err != unix.ENOENT {
		return s, c, err
	}
	s[cgroupName] = string(text)
	var root unix.Stat_t
	if err := unix.Stat(dir+"/root", &root); err != nil {
		return s, c, &os.PathError{Op: "stat", Path: dir + "/root", Err: err}
	}
	s[rootName] = fmt.Sprint(root.Dev, ":", root.Ino)
	for i, name := range nsFiles {
		n, err := unix.Readlink(dir+"/ns/"+name, buffer[:])
		if err != nil && err != unix.ENOENT { // an older kernel hasn't got all
			return s, c, &os.PathError{Op: "readlink", Path: dir + "/ns/" + name, Err: err}
		}
		s[firstNSName+i] = string(buffer[:max(n, 0)])
	}
	return s, c, nil
}

// readFile is [os.ReadFile] in fewer system calls, into a buffer that mostly is large
// enough.
func readFile(path string, buffer []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, 0)[:len(buffer)]
		}
		n, err := unix.Read(fd, buffer[len(buffer):cap(buffer)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return buffer, nil
		default:
			buffer = buffer[:len(buffer)+n]
		}
	}
}

// remember notes what the helper's children inherit from it.
func (h *Helper) remember() error {
	s, _, err := readState("/proc/" + strconv.Itoa(h.pid))
	if err != nil {
		return err
	}
	h.state.Store(&s)
	for i := range h.limits {
		if err := prlimit(h.pid, i, &h.limits[i]); err != nil {
			return err
		}
	}
	return nil
}

func prlimit(pid, resource int, limit *syscall.Rlimit) error {
	var value unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &value); err != nil {
		return os.NewSyscallError("prlimit", err)
	}
	*limit = syscall.Rlimit{Cur: value.Cur, Max: value.Max}
	return nil
}

// errChanged is an attribute of the caller that its helper hasn't got.
var errChanged = fmt.Errorf("not as it was at helper.Start: %w", errors.ErrUnsupported)

// caller looks at the calling thread. An [*plan.Error] names what is different from
// the helper and can't travel. What has changed for both, as by a cgroup that both are
// in, is no difference.
func (h *Helper) caller() (caller, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now, c, err := readState("/proc/thread-self")
	if err != nil {
		return c, err
	}
	if now != *h.state.Load() {
		theirs, _, err := readState("/proc/" + strconv.Itoa(h.pid))
		for i, name := range stateNames {
			if now[i] != theirs[i] {
				return c, &plan.Error{Step: name, Err: errChanged}
			}
		}
		if err != nil {
			return c, err
		}
		h.state.Store(&theirs)
	}
	for i := range c.limits {
		if err := prlimit(0, i, &c.limits[i]); err != nil {
			return c, err
		}
	}
	c.dir, err = h.changedDir()
	return c, err
}
