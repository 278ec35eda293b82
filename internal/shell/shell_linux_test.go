//go:build cgo && (amd64 || arm64)

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rawfork/internal/forktest"
	"rawfork/internal/text"
	"rawfork/probe"
)

func TestMain(m *testing.M) { forktest.Main(m, nil) }

// generous is the first line of scripts in which nothing is to hang.
const generous = "timeout 30s\n"

// script runs a script and returns what it said, with this program's pid as SELF, those
// of its children as PID1 and so on, the current directory as DIR, and without the time
// at which a child was started.
func script(t *testing.T, lines string) (said string, err error) {
	t.Helper()
	var out strings.Builder
	err = Script(t.Context(), strings.NewReader(generous+lines), &out, text.Style{Width: 80})
	said = mask(out.String(), strconv.Itoa(os.Getpid()), "SELF")
	for _, m := range regexp.MustCompile(`child (\d+): pid (\d+)`).FindAllStringSubmatch(out.String(), -1) {
		said = mask(said, m[2], "PID"+m[1])
	}
	dir, dirErr := os.Getwd()
	if dirErr != nil {
		t.Fatal(dirErr)
	}
	said = strings.ReplaceAll(said, strconv.Quote(dir), "DIR")
	return regexp.MustCompile("StartTime: .*\n").ReplaceAllString(said, ""), err
}

// mask replaces a number, where it stands as a word.
func mask(text, number, name string) string {
	return regexp.MustCompile(`\b`+number+`\b`).ReplaceAllString(text, name)
}

func TestScript(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, script, want string }{
		{"nothing", "\n  # a comment\n\t\n", ""},
		{"copy-on-write", `
			store x 1
			fork
			store x 2
			child 1 load x
			child 1 store x -3   # in the child only
			load x
			child 1 load x
		`, "child 1: pid PID1\n1\n2\n-3\n"},
		{"current process", `
			fork
			getpid
			child 1
			getpid
			fork
			child 2 getppid
			parent getpid
			getppid
			parent
			getpid
		`, "child 1: pid PID1\nSELF\nPID1\nchild 2: pid PID2\nPID1\nSELF\nSELF\nSELF\n"},
		{"files", `
			fork
			child 1
			close 0
			open ` + file + ` O_RDWR   # gets 0
			read 0 3
			lseek 0 0 SEEK_CUR
			write 0 "\x00 \u00e9"
			fork
			child 2 lseek 0 1 SEEK_SET
			read 0 100
			fcntl 0 F_GETFD 0
			flock 0 LOCK_EX|LOCK_NB
		`, "child 1: pid PID1\n0\n0\n3 \"abc\"\n3\n4\nchild 2: pid PID2\n1\n6 \"bc\\x00 é\"\n0\n0\n"},
		{"ends", `
			fork
			child 1 exit 3
			wait 1
			wait 1
			fork
			kill 2
			wait 2
			fork
			kill 3 sigkill
			wait 3
			fork
			child 4 exec /bin/sh -c "exit 7"
			wait 4
		`, `child 1: pid PID1
child PID1 ended with exit status 3
child PID1 ended with exit status 3
child 2: pid PID2
child PID2 was killed by signal 15, terminated
child 3: pid PID3
child PID3 was killed by signal 9, killed
child 4: pid PID4
child PID4 ended with exit status 7
`},
		{"signals", `
			fork
			child 1
			sigaction USR1 count
			raise SIGUSR1
			handled 10
			sigaction USR1
			block USR1 USR2
			raise usr1
			pending
			unblock USR1
			handled USR1
			pending
		`, "child 1: pid PID1\ndefault\n1\ncount\nSIGUSR1\n2\nnone\n"},
		{"diff", `
			fork
			child 1 fork
			child 2 chdir /
			diff 1 2
			diff 2 1
			child 2
			chdir "/proc"
			getcwd
			quit
			this is not reached
		`, `child 1: pid PID1
child 2: pid PID2
0
PID: PID1 → PID2
PPID: SELF → PID1
NSPIDs: PID1 → PID2
Cwd: DIR → "/"
PID: PID2 → PID1
PPID: PID1 → SELF
NSPIDs: PID2 → PID1
Cwd: "/" → DIR
0
/proc
`},
		{"any call", `
			fork
			child 1 syscall 0x7fffff00 1 2
		`, "child 1: pid PID1\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			said, err := script(t, test.script)
			if test.name == "any call" {
				if !errors.Is(err, syscall.ENOSYS) {
					t.Errorf("%v, want ENOSYS", err)
				}
				err = nil
			}
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(test.want, said); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// ps shows this program and those of its children that were not reaped.
func TestPs(t *testing.T) {
	said, err := script(t, "fork\nfork\nfork\nchild 1 exit\nkill 2 9\nwait 2\nps\n")
	if err != nil {
		t.Fatal(err)
	}
	said = said[strings.Index(said, "PID TTY"):]
	for _, want := range []string{`(?m)^parent +SELF `, `(?m)^child 1 +PID1 .* Z\S* .*<defunct>$`, `(?m)^child 3 +PID3 `} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("nothing like %s in:\n%s", want, said)
		}
	}
	if strings.Contains(said, "child 2") {
		t.Errorf("a child that was reaped is in:\n%s", said)
	}
}

// A memory address is good in the parent and in a child that was forked since; a bad
// one is EFAULT in either.
func TestMemory(t *testing.T) {
	var out strings.Builder
	s := newShell(&out, text.Style{Width: 80})
	t.Cleanup(func() { s.close() })
	do := func(line string) string {
		t.Helper()
		out.Reset()
		if err := s.do(t.Context(), line); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out.String())
	}
	do("timeout 1m")
	shared, private := do("mmap 100 MAP_SHARED"), do("mmap 100")
	do("fork")
	for _, addr := range []string{shared, private} {
		do("child 1 poke " + addr + " hello")
	}
	got := [2]string{do("peek " + shared + " 6"), do("parent peek " + private + " 2")}
	if want := [2]string{`"hello\x00"`, `"\x00\x00"`}; got != want {
		t.Errorf("in the parent: %q, want %q", got, want)
	}
	for _, line := range []string{"peek 8 1", "poke 8 x", "child 1 peek 8 1", "child 1 poke 0xffffffffffffffff x"} {
		if err := s.do(t.Context(), line); !errors.Is(err, syscall.EFAULT) {
			t.Errorf("%s: %v, want EFAULT", line, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for lines, want := range map[string]string{
		"nonsense":                             "line 2: nonsense: no such command; try help",
		"\n\nfork 1":                           "line 4: fork: too many arguments. Usage: fork",
		"child":                                "line 2: child: which one? Usage: child CHILD [COMMAND...]",
		"child 1 getpid":                       "line 2: child 1: there is none; fork makes them",
		"fork\nchild 1 ps":                     "line 3: ps: no such call; try help",
		"lseek 1":                              "line 2: lseek: OFFSET is missing. Usage: lseek FD OFFSET WHENCE",
		"lseek 1 0 SEEK":                       `line 2: lseek: "SEEK" is no number, and no constant that is known here`,
		"fork\nkill 1 SIGNOTHING":              `line 3: kill: "SIGNOTHING" is no signal`,
		"load xy":                              `line 2: load: "xy" is no variable: they are a to z`,
		`write 1 "x`:                           `line 2: "x: a string of Go must end, in quotes, on its line`,
		"close 12345":                          "line 2: parent: close: EBADF: bad file descriptor",
		"fork\nchild 1 close 12345":            "line 3: child 1: close: EBADF: bad file descriptor",
		"fork\nchild 1 exec /nonexistent":      "line 3: child 1: exec: ENOENT: no such file or directory",
		"exit":                                 "line 2: parent: exit: only a child can do this; quit ends the shell",
		"raise TERM":                           "line 2: parent: raise: only a child can do this",
		"kill 0 TERM":                          "line 2: kill: only a child can do this",
		"diff":                                 "line 2: diff: parent is not different from itself",
		"timeout 0s":                           "line 2: timeout: 0s is no time to wait",
		"fork\nchild 1 read 0 100000":          "line 3: child 1: read: 100000 is not 0 to 60000 bytes",
		"fork\nchild 1 sigaction USR1 what":    `line 3: sigaction: "what" is none of default, ignore, count`,
		"timeout 1ms\npause":                   "line 3: parent: pause: interrupted after 1ms (see timeout): i/o timeout",
		"fork\ntimeout 1ms\nchild 1 pause":     "line 4: child 1: pause: it goes on after 1ms (see timeout): i/o timeout",
		"fork\nkill 1 9\nchild 1 getpid":       "was killed by signal 9, killed",
		"fork\nchild 1 exit 2\nchild 1 load x": "ended with exit status 2",
		"help nonsense":                        "line 2: help: nonsense: no such command",
	} {
		_, err := script(t, lines)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", lines, err, want)
		}
	}
	// A call that is restarted after other signals.
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	if _, err := script(t, fmt.Sprintf("timeout 1ms\nread %d 1", pipe[0])); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read of an empty pipe in the program itself: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	full := writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	if err := Script(t.Context(), strings.NewReader("getpid"), full, text.Style{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("nowhere to write: %v, want ENOSPC", err)
	}
	// Half of this program, or none of it, would be left.
	for _, trap := range []int{syscall.SYS_CLONE, syscall.SYS_EXECVE} {
		if _, err := script(t, fmt.Sprint("syscall ", trap)); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("system call %d in the program itself: %v, want EINVAL", trap, err)
		}
	}
}

// Of this program's threads diff shows the one that commands run on, as that forks.
func TestDiffOfThread(t *testing.T) {
	const block, set = 0, "\"\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\"" // SIGUSR1
	said, err := script(t, fmt.Sprintf("syscall %d %d %s 0 8\nfork\ndiff 1\n", syscall.SYS_RT_SIGPROCMASK, block, set))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said, "PPID: ") || strings.Contains(said, "Blocked: ") {
		t.Errorf("the child's mask is that of the thread that forked; diff says:\n%s", said)
	}
}

// A script ends when its context does, also while it waits for a line, and its
// children with it.
func TestContext(t *testing.T) {
	cause := errors.New("the cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	in, feed := io.Pipe()
	defer in.Close()
	out := writerFunc(func(b []byte) (int, error) {
		if strings.HasPrefix(string(b), "child 1: pid") {
			cancel(cause)
		}
		return len(b), nil
	})
	go io.WriteString(feed, generous+"fork\n")
	if err := Script(ctx, in, out, text.Style{}); !errors.Is(err, cause) {
		t.Errorf("%v, want %v", err, cause)
	}
	if forktest.HaveChild() {
		t.Error("a child is left")
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Every command has a help text, and fits a narrow terminal.
func TestHelp(t *testing.T) {
	var out strings.Builder
	s := newShell(&out, text.Style{Width: 30})
	if err := s.do(t.Context(), "help"); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if len([]rune(line)) > 30 {
			t.Errorf("wider than 30 columns: %q", line)
		}
	}
	for _, c := range commands {
		out.Reset()
		if err := s.do(t.Context(), "help "+c.name); err != nil || c.help == "" {
			t.Errorf("help %s: %v, %q", c.name, err, out.String())
		}
	}
}

func TestComplete(t *testing.T) {
	s := newShell(io.Discard, text.Style{Width: 80})
	s.probes = []*probe.Probe{new(probe.Probe), new(probe.Probe)}
	for _, test := range []struct{ line, want, list string }{
		{"for", "fork ", ""},
		{"getp", "getp", "getpgid getpid getppid"},
		{"ge", "get", ""},
		{"child ", "child ", "1 2"},
		{"child 2 ki", "child 2 kill ", ""},
		{"child 2 ps", "child 2 ps", ""},
		{"parent umas", "parent umask ", ""},
		{"kill 1 SIGUS", "kill 1 SIGUSR", ""},
		{"kill 1 SIGUSR", "kill 1 SIGUSR", "SIGUSR1 SIGUSR2"},
		{"block SIGUSR1 SIGTE", "block SIGUSR1 SIGTERM ", ""},
		{"open /x O_RDWR|O_EX", "open /x O_RDWR|O_EXCL ", ""},
		{"lseek 1 2 SEEK_E", "lseek 1 2 SEEK_END ", ""},
		{"lseek 1 2 SEEK_END ", "lseek 1 2 SEEK_END ", ""},
		{"sigaction TERM i", "sigaction TERM ignore ", ""},
		{"help timeo", "help timeout ", ""},
		{"nonsense ", "nonsense ", ""},
		{"getpid ", "getpid ", ""},
	} {
		line, pos, list := s.complete(test.line, len(test.line))
		if line != test.want || pos != len(line) || list != test.list {
			t.Errorf("%q: %q at %d, list %q, want %q, list %q", test.line, line, pos, list, test.want, test.list)
		}
	}
	if line, pos, _ := s.complete("kil 1", 3); line != "kill 1" || pos != 4 {
		t.Errorf("in the middle of a line: %q at %d", line, pos)
	}
}

// FuzzLine has no line, whatever it is, end the program. Nothing is run.
func FuzzLine(f *testing.F) {
	for _, line := range []string{"", "fork", "child 1 getpid", `write 1 "a\n" # x`, "open x O_RDWR|", "lseek 9223372036854775807 -1 0x", "kill 1 \xff"} {
		f.Add(line)
	}
	s := newShell(io.Discard, text.Style{Width: 20})
	f.Fuzz(func(t *testing.T, line string) {
		s.complete(line, len(line))
		words, err := split(line)
		if err != nil || len(words) == 0 {
			return
		}
		if c := find(words[0].text, false); c != nil {
			values, err := s.values(c, words[1:])
			if err == nil && len(values) < len(c.parameters()) {
				t.Errorf("%q: %d values for %q", line, len(values), c.params)
			}
		}
	})
}
