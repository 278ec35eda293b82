//go:build amd64 || arm64

package shell

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/probe"
)

// processCommands are done in the current process.
var processCommands = []*command{
	{"fork", "", "fork: the new child has the next number", true, fork},
	{"exec", "PATH [WORD...]", "run the program at PATH with these arguments", true, exec},
	{"exit", "[STATUS]", "end; the parent can wait", true, exit},
	{"load", "VAR", "the value of a variable, one of a to z, in this process", true, load},
	{"store", "VAR VALUE", "set a variable in this process", true, store},
	{"peek", "ADDRESS COUNT", "bytes of memory", true, peek},
	{"poke", "ADDRESS TEXT", "write to memory", true, poke},
	{"mmap", "LENGTH [FLAGS]", "new memory: MAP_PRIVATE, if nothing is said, or MAP_SHARED", true, mmap},
	{"raise", "SIGNAL", "send itself a signal", true, raise},
	{"sigaction", "SIGNAL [ACTION]", "set what a signal does: default, ignore, or count; says what it did", true, sigaction},
	{"handled", "SIGNAL", "how often count ran for a signal", true, handled},
	{"block", "SIGNAL...", "block signals", true, sigmask(unix.SIG_BLOCK)},
	{"unblock", "SIGNAL...", "unblock signals", true, sigmask(unix.SIG_UNBLOCK)},
	{"pending", "", "the signals that are blocked and have come", true, pending},
}

// calls are system calls by their names: the result is a number.
var calls = []*command{
	ints("getpid", "", unix.SYS_GETPID),
	ints("getppid", "", unix.SYS_GETPPID),
	ints("gettid", "", unix.SYS_GETTID),
	ints("getpgid", "PID", unix.SYS_GETPGID),
	ints("setpgid", "PID PGID", unix.SYS_SETPGID),
	ints("getsid", "PID", unix.SYS_GETSID),
	ints("setsid", "", unix.SYS_SETSID),
	ints("getuid", "", unix.SYS_GETUID),
	ints("setuid", "UID", unix.SYS_SETUID),
	ints("close", "FD", unix.SYS_CLOSE),
	ints("dup", "FD", unix.SYS_DUP),
	ints("dup3", "FD NEWFD FLAGS", unix.SYS_DUP3),
	ints("lseek", "FD OFFSET WHENCE", unix.SYS_LSEEK),
	ints("fcntl", "FD CMD VALUE", unix.SYS_FCNTL),
	ints("flock", "FD HOW", unix.SYS_FLOCK),
	ints("umask", "MASK", unix.SYS_UMASK),
	ints("kill", "PID SIGNAL", unix.SYS_KILL),
	ints("chdir", "PATH", unix.SYS_CHDIR),
	ints("prctl", "OPTION VALUE", unix.SYS_PRCTL),
	{"pause", "", "pause(2): wait for a signal", true, func(s *shell, _ []any) (string, error) {
		return s.call(unix.SYS_PPOLL, 0, 0, 0, 0, 0)
	}},
	{"open", "PATH [FLAGS [MODE]]", "open(2): the new descriptor", true, func(s *shell, v []any) (string, error) {
		return s.call(unix.SYS_OPENAT, unix.AT_FDCWD, v[0], number(v[1], 0), number(v[2], 0o666))
	}},
	{"read", "FD COUNT", "read(2): how many bytes, and which", true, func(s *shell, v []any) (string, error) {
		b, err := buffer(v[1])
		if err != nil {
			return "", err
		}
		n, err := s.process().Syscall(unix.SYS_READ, v[0], b, len(b))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d %q", n, b[:n]), nil
	}},
	{"write", "FD TEXT", "write(2): how many bytes were written", true, func(s *shell, v []any) (string, error) {
		return s.call(unix.SYS_WRITE, v[0], []byte(v[1].(string)), len(v[1].(string)))
	}},
	{"pipe", "", "pipe(2): the end to read from and the end to write to", true, func(s *shell, _ []any) (string, error) {
		fds := make([]byte, 8)
		if _, err := s.process().Syscall(unix.SYS_PIPE2, fds, 0); err != nil {
			return "", err
		}
		return fmt.Sprint(binary.NativeEndian.Uint32(fds), " ", binary.NativeEndian.Uint32(fds[4:])), nil
	}},
	{"getcwd", "", "getcwd(3)", true, func(s *shell, _ []any) (string, error) {
		b := make([]byte, unix.PathMax)
		_, err := s.process().Syscall(unix.SYS_GETCWD, b, len(b))
		return unix.ByteSliceToString(b), err
	}},
	{"syscall", "NUMBER [ARG...]", "any system call by its number; an ARG in quotes is passed as a string", true,
		func(s *shell, v []any) (string, error) {
			args := v[1:]
			if len(args) > 6 {
				return "", fmt.Errorf("%d arguments, at most 6 are possible", len(args))
			}
			if args[0] == nil {
				args = nil
			}
			return s.call(uintptr(v[0].(int)), args...)
		}},
}

// ints is a system call whose parameters are numbers, signals and paths.
func ints(name, params string, trap uintptr) *command {
	return &command{name, params, name + "(2)", true, func(s *shell, v []any) (string, error) {
		args := make([]any, len(v))
		for i, value := range v {
			args[i] = value
			if sig, ok := value.(syscall.Signal); ok {
				args[i] = int(sig)
			}
		}
		return s.call(trap, args...)
	}}
}

// call makes a system call in the current process and tells its result.
func (s *shell) call(trap uintptr, args ...any) (string, error) {
	r, err := s.process().Syscall(trap, args...)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(int(r)), nil
}

// number is the value of an optional parameter.
func number(value any, otherwise int) int {
	if n, ok := value.(int); ok {
		return n
	}
	return otherwise
}

// buffer makes room for as many bytes as one call of a probe takes.
func buffer(count any) ([]byte, error) {
	const most = 60_000
	if n := count.(int); n >= 0 && n <= most {
		return make([]byte, n), nil
	}
	return nil, fmt.Errorf("%v is not 0 to %d bytes", count, most)
}

func fork(s *shell, _ []any) (string, error) {
	var p *probe.Probe
	var err error
	if s.current == 0 {
		p, err = probe.Fork()
	} else {
		p, err = s.probes[s.current-1].Fork()
	}
	if err != nil {
		return "", err
	}
	p.SetTimeout(s.timeout)
	s.probes = append(s.probes, p)
	return fmt.Sprintf("child %d: pid %d", len(s.probes), p.Pid()), nil
}

func exec(s *shell, v []any) (string, error) {
	p, err := s.probe()
	if err != nil {
		return "", err
	}
	argv := []string{v[0].(string)}
	for _, arg := range v[1:] {
		if arg != nil {
			argv = append(argv, arg.(string))
		}
	}
	err = p.Exec(argv[0], argv, os.Environ())
	s.execed[p] = err == nil
	return "", err
}

func exit(s *shell, v []any) (string, error) {
	p, err := s.probe()
	if err != nil {
		return "", fmt.Errorf("%w; quit ends the shell", err)
	}
	return "", p.Exit(number(v[0], 0))
}

// address is where a variable is, in every process.
func address(v any) uintptr { return probe.Addr(&variables[v.(int)]) }

func load(s *shell, v []any) (string, error) {
	b, err := s.process().Peek(address(v[0]), int(unsafe.Sizeof(variables[0])))
	if err != nil {
		return "", err
	}
	return fmt.Sprint(int64(binary.NativeEndian.Uint64(b))), nil
}

func store(s *shell, v []any) (string, error) {
	return "", s.process().Poke(address(v[0]), binary.NativeEndian.AppendUint64(nil, uint64(v[1].(int))))
}

func peek(s *shell, v []any) (string, error) {
	b, err := buffer(v[1])
	if err == nil {
		b, err = s.process().Peek(uintptr(v[0].(int)), len(b))
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%q", b), nil
}

func poke(s *shell, v []any) (string, error) {
	return "", s.process().Poke(uintptr(v[0].(int)), []byte(v[1].(string)))
}

func mmap(s *shell, v []any) (string, error) {
	flags := number(v[1], unix.MAP_PRIVATE) | unix.MAP_ANONYMOUS
	addr, err := s.process().Syscall(unix.SYS_MMAP, 0, v[0], unix.PROT_READ|unix.PROT_WRITE, flags, -1, 0)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%#x", addr), nil
}

func raise(s *shell, v []any) (string, error) {
	p, err := s.probe()
	if err != nil {
		return "", err
	}
	return "", p.Raise(v[0].(syscall.Signal))
}

var (
	actionNames = []string{"default", "ignore", "count"}
	actions     = []probe.Disposition{probe.Default, probe.Ignore, probe.Count}
)

func sigaction(s *shell, v []any) (string, error) {
	p, err := s.probe()
	if err != nil {
		return "", err
	}
	var action *probe.Action
	if i, ok := v[1].(int); ok {
		action = &probe.Action{Handler: actions[i]}
	}
	old, err := p.Sigaction(v[0].(syscall.Signal), action)
	if err != nil {
		return "", err
	}
	return old.Handler.String(), nil
}

func handled(s *shell, v []any) (string, error) {
	p, err := s.probe()
	if err != nil {
		return "", err
	}
	n, err := p.Handled(v[0].(syscall.Signal))
	return fmt.Sprint(n), err
}

func sigmask(how int) func(s *shell, v []any) (string, error) {
	return func(s *shell, v []any) (string, error) {
		p, err := s.probe()
		if err != nil {
			return "", err
		}
		var mask uint64
		for _, sig := range v {
			if sig.(syscall.Signal) > 0 {
				mask |= probe.Mask(sig.(syscall.Signal))
			}
		}
		_, err = p.Sigprocmask(how, mask)
		return "", err
	}
}

func pending(s *shell, _ []any) (string, error) {
	p, err := s.probe()
	if err != nil {
		return "", err
	}
	set, err := p.Sigpending()
	if err != nil {
		return "", err
	}
	names := "none"
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if set&probe.Mask(sig) != 0 {
			names = fmt.Sprintf("%s %s", names, signalName(sig))
		}
	}
	if names != "none" {
		names = names[len("none "):]
	}
	return names, nil
}

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprint(int(sig)) // a real-time signal
}
