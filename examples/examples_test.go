//go:build linux && cgo && (amd64 || arm64)

// Package examples_test runs the examples as a user does, and compares what they
// print with what the chapter says.
package examples_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rawfork/internal/forktest"
)

// limit is how long an example may take: far above what it needs on a loaded
// machine.
const limit = 2 * time.Minute

// nobody is the ordinary user as whom a test run by root runs the examples.
const nobody = 65534

func TestMain(m *testing.M) { forktest.Main(m, nil) }

// example is one program and what it prints, with pids masked to PID1, PID2 and
// so on, in the order of their first appearance.
type example struct {
	name string
	args []string
	want string
	// anyOrder is set where it is open which process prints first: the lines are
	// compared as a set. Then pids are all PID if their order is open too.
	anyOrder, anyPid bool
	mask             map[string]string // expressions for what differs between runs
	orphans          int               // how many processes it leaves to init
	heavy            bool              // much memory: run once, with nothing beside it
}

var examples = []example{
	{name: "firstfork", anyOrder: true, want: `
before the fork: pid PID1
parent: fork returned PID2, I am pid PID1
child: fork returned 0, I am pid PID2
both get here: pid PID1
both get here: pid PID2
`},
	{name: "twice", anyOrder: true, want: `
doTheFork returned "client" in pid PID4
doTheFork returned "server" in pid PID2
client got: served by pid PID1, a child of pid PID2
client got: served by pid PID3, a child of pid PID2
`},
	{name: "memory", want: `
before the fork: x is 1
child: x is 1, I make it 2
parent: x is still 1, I make it 3
child: x is still 2
`},
	{name: "system", want: `
hello from echo
echo: exit status 0
sh -c "exit 3": exit status 3
started cat in pid PID1 and went on: it runs
its input ends, and so does cat: exit status 0
`},
	{name: "garble", mask: map[string]string{`stream: [ab]*(ab|ba)[ab]*`: "stream: MIXED"}, want: `
two writers, one stream: MIXED
the reader is gone: both killed by SIGPIPE
`},
	{name: "descriptors", want: `
parent closed the connection: the client sees no end
child closed it too: the client sees the end
`},
	{name: "status", want: `
Exit(0)        exit status 0
Exit(7)        exit status 7
Exit(256)      exit status 0
Exit(-1)       exit status 255
Kill(SIGTERM)  killed by SIGTERM
Kill(SIGKILL)  killed by SIGKILL
waited twice   wait4: no child processes
`},
	{name: "zombie", want: `
the child has ended, nobody has waited:
    PID TTY      STAT   TIME COMMAND
PID1 Z [zombie] <defunct>
after SIGKILL:
PID1 Z [zombie] <defunct>
after wait: exit status 7, and no pid PID1
`},
	{name: "reap", anyOrder: true, anyPid: true,
		mask: map[string]string{`taken: ([1-9]|10)\b`: "taken: N"}, want: `
10 children wait to die
parent: I sleep for 500ms
parent: I slept for my full time
reaped pid PID, exit status 0
reaped pid PID, exit status 1
reaped pid PID, exit status 2
reaped pid PID, exit status 3
reaped pid PID, exit status 4
reaped pid PID, exit status 5
reaped pid PID, exit status 6
reaped pid PID, exit status 7
reaped pid PID, exit status 8
reaped pid PID, exit status 9
10 children reaped, signals taken: N
`},
	{name: "poll", anyOrder: true, want: `
3 clients came and went:
    PID TTY      STAT   TIME COMMAND
PID1 Z [poll] <defunct>
PID2 Z [poll] <defunct>
PID3 Z [poll] <defunct>
another client comes:
reaped pid PID1
reaped pid PID2
reaped pid PID3
`},
	{name: "orphan", orphans: 1, want: `
orphan pid PID1: my parent was pid PID2, now it is pid PID3
pid PID4 is a subreaper now
orphan pid PID5: my parent was pid PID6, now it is pid PID4
reaped pid PID5, exit status 7
`},
	{name: "cow", heavy: true, mask: map[string]string{
		`(wrote 32 MB +)3[2-6] +\d+ +3[2-6] +\d+`:    "${1}HALF SHARED HALF SHARED",
		`(after the fork +)[0-4] +\d\d +[0-4] +\d\d`: "${1}FEW MOST FEW MOST",
		`\d+\.\d ms`: "T ms",
	}, want: `
MB                       child               parent
                         private   shared    private   shared
after the fork                 FEW MOST FEW MOST
child wrote 32 MB             HALF SHARED HALF SHARED

 16 MB in use: fork T ms
 64 MB in use: fork T ms
256 MB in use: fork T ms
`},
	{name: "locking", mask: map[string]string{`no lock: [1-9]\d*`: "no lock: SOME"}, want: `
no lock: SOME of 4000 records mixed
flock:   0 of 4000 records mixed
fcntl:   0 of 4000 records mixed
`},
	{name: "lockdeath", want: `
flock:   a child has the lock, the parent can't get it: resource temporarily unavailable
flock:   the child was killed, the parent gets it
fcntl:   a child has the lock, the parent can't get it: resource temporarily unavailable
fcntl:   the child was killed, the parent gets it
`},
	{name: "errors", mask: map[string]string{
		`fd \d+`: "fd FD",
		// Where the system is set to promise all memory, the example says so.
		`connection 3: vm.overcommit_memory hides ENOMEM`: "connection 3: serve fd FD: fork: cannot allocate memory: delayed",
	}, want: `
connection 1: served
connection 2: serve fd FD: fork: resource temporarily unavailable: dropped
connection 3: serve fd FD: fork: cannot allocate memory: delayed
connection 3: served
connection 4: served
left: 0 children, 0 descriptors
`},
	{name: "snapshot", heavy: true, mask: map[string]string{`\d+\.\d ms`: "T ms", `: [1-9]\d* more`: ": SOME more"}, want: `
forked in the middle of round 3, stopped for T ms
parent: SOME more rounds through 256 MB while the child wrote
image: 33554432 words, all as they were at the fork
`},
	{name: "ps", mask: map[string]string{
		` [RSD] (/.*/)?ps`: " S ps",
		`(?m)^(pid|open files|connections|memory, MB|environment) +\d+ +\d+$`: "$1 N N",
		`directory +/.* /proc`: "directory D /proc",
	}, want: `
    PID TTY      STAT   TIME COMMAND
PID1 S ps
PID2 S ps
                   parent        child
pid N N
open files N N
connections N N
memory, MB N N
environment N N
directory D /proc
`},
}

func TestExamples(t *testing.T) {
	bin := build(t, "./...")
	// What the child may call must not hang on what the compiler inlines.
	flags := append(fastLink(), "-gcflags=all=-N -l")
	for _, e := range examples {
		if !e.heavy {
			flags = append(flags, "./"+e.name)
		}
	}
	unoptimised := build(t, flags...)
	names := append([]string{"echoserver", "goserver", "prefork"}, serverExamples...) // have tests of their own
	for _, e := range examples {
		names = append(names, e.name)
		if !e.heavy {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				compare(t, bin, e, nil)
			})
			t.Run(e.name+" unoptimised", func(t *testing.T) {
				t.Parallel()
				compare(t, unoptimised, e, nil)
			})
		}
		t.Run(e.name+" as an ordinary user on one processor", func(t *testing.T) {
			if !e.heavy {
				t.Parallel()
			}
			compare(t, bin, e, func(cmd *exec.Cmd) {
				cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
				if os.Geteuid() == 0 {
					cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
				}
			})
		})
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, built(t, bin)); diff != "" {
		t.Errorf("examples with a test and those that there are (-want +got):\n%s", diff)
	}
	t.Run("echoserver", func(t *testing.T) { testEchoserver(t, filepath.Join(bin, "echoserver")) })
	t.Run("goserver", func(t *testing.T) { testGoserver(t, filepath.Join(bin, "goserver")) })
	t.Run("prefork", func(t *testing.T) { testPrefork(t, filepath.Join(bin, "prefork")) })
	t.Run("servers", func(t *testing.T) { testServers(t, bin) })
	t.Run("failure", func(t *testing.T) { testFailure(t, bin) })
}

// fastLink are the flags with which a program that nobody else runs is linked in a
// third of the time: by Go's own linker, without the C compiler's. It can't do that
// on every architecture, nor with package helper in the program.
func fastLink() []string {
	if runtime.GOARCH == "amd64" {
		return []string{"-ldflags=-linkmode=internal -s -w"}
	}
	return nil
}

// build builds examples, by the flags and packages of go build.
func build(t *testing.T, args ...string) (bin string) {
	bin = t.TempDir()
	// The ordinary user must get there too.
	for _, dir := range []string{bin, filepath.Dir(bin)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("go", append([]string{"build", "-o", bin + "/"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

func built(t *testing.T, bin string) (names []string) {
	entries, err := os.ReadDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// compare runs an example, set up by setup, and compares what it prints.
func compare(t *testing.T, bin string, e example, setup func(*exec.Cmd)) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := command(ctx, filepath.Join(bin, e.name), e.args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if setup != nil {
		setup(cmd)
	}
	// Wait ends when all processes of the example have closed their output.
	err := cmd.Run()
	reapOrphans(t, e, stdout.String())
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v, %v\nstderr: %s\nstdout: %s", err, ctx.Err(), stderr.String(), stdout.String())
	}
	if diff := cmp.Diff(wanted(e), masked(stdout.String(), e)); diff != "" {
		t.Errorf("(-want +got):\n%s\nunmasked:\n%s", diff, stdout.String())
	}
}

// wanted is what masked output is compared with.
func wanted(e example) string {
	want := strings.TrimPrefix(e.want, "\n")
	if e.anyOrder {
		want = sorted(want, strings.Compare)
	}
	return want
}

// command is a command in a process group that ends as a whole, at the latest
// when ctx does.
func command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// reapOrphans waits for the processes that the example left to the nearest
// subreaper, which is this test: see forktest.Main.
func reapOrphans(t *testing.T, e example, stdout string) {
	found := regexp.MustCompile(`orphan pid (\d+): .*, now it is pid (\d+)`).FindAllStringSubmatch(stdout, e.orphans)
	if len(found) != e.orphans {
		t.Errorf("%d orphans in the output, want %d:\n%s", len(found), e.orphans, stdout)
	}
	for _, orphan := range found {
		if orphan[2] != strconv.Itoa(os.Getpid()) {
			t.Errorf("orphan's new parent: pid %s, want the subreaper %d", orphan[2], os.Getpid())
			continue
		}
		pid, err := strconv.Atoi(orphan[1])
		if err != nil {
			t.Fatal(err)
		}
		forktest.WantExit(t, pid, 7)
	}
}

var (
	psLine = regexp.MustCompile(`(?m)^ *(\d+) +\S+ +([A-Z])\S* +\d+:\d\d (.*)$`)
	pid    = regexp.MustCompile(`\b(pid|fork returned) ([1-9]\d*)`)
	digits = regexp.MustCompile(`\d+`)
)

// masked replaces what differs from run to run.
func masked(text string, e example) string {
	text = psLine.ReplaceAllString(text, "pid $1 $2 $3")
	if e.anyOrder {
		// By what the lines say but for numbers, so that pids are numbered in the
		// same order every time.
		text = sorted(text, func(a, b string) int {
			return strings.Compare(digits.ReplaceAllString(a, ""), digits.ReplaceAllString(b, ""))
		})
	}
	names := map[string]string{}
	text = pid.ReplaceAllStringFunc(text, func(match string) string {
		before, number, _ := strings.Cut(match, " ")
		if before == "fork" {
			before, number = "fork returned", strings.TrimPrefix(number, "returned ")
		}
		if names[number] == "" {
			names[number] = "PID" + strconv.Itoa(len(names)+1)
		}
		if e.anyPid {
			return before + " PID"
		}
		return before + " " + names[number]
	})
	text = regexp.MustCompile(`(?m)^pid (PID\d* [A-Z] )`).ReplaceAllString(text, "$1")
	for expression, with := range e.mask {
		text = regexp.MustCompile(expression).ReplaceAllString(text, with)
	}
	if e.anyOrder {
		text = sorted(text, strings.Compare)
	}
	return text
}

func sorted(text string, compare func(a, b string) int) string {
	lines := strings.SplitAfter(text, "\n")
	slices.SortStableFunc(lines, compare)
	return strings.Join(lines, "")
}

// What an example's comment and the README show is what is printed.
func TestDocuments(t *testing.T) {
	all := ""
	for _, e := range examples {
		source, err := os.ReadFile(filepath.Join(e.name, "main.go"))
		if err != nil {
			t.Fatal(err)
		}
		_, shown, _ := strings.Cut(string(source), "//\t$ go run ./examples/"+e.name+"\n")
		shown, _, _ = strings.Cut(shown, "package main\n")
		shown = regexp.MustCompile(`(?m)^//\t?`).ReplaceAllString(shown, "")
		if diff := cmp.Diff(wanted(e), masked(shown, e)); diff != "" {
			t.Errorf("comment of %s (-want +shown):\n%s", e.name, diff)
		}
		all += "$ go run ./examples/" + e.name + "\n" + shown
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(readme), "```\n")
	for i := 1; i < len(blocks); i += 2 {
		if !strings.Contains(all, blocks[i]) {
			t.Errorf("README: no example's comment has these lines:\n%s", blocks[i])
		}
	}
	linked := append([]string{"echoserver", "goserver", "prefork"}, serverExamples...)
	for _, e := range examples {
		linked = append(linked, e.name)
	}
	for _, name := range linked {
		if !strings.Contains(string(readme), "["+name+"]("+name+"/main.go)") {
			t.Errorf("README: no link to %s", name)
		}
	}
}

// An example that can't do its work says so in one line and with exit status 1.
func testFailure(t *testing.T, bin string) {
	for _, test := range []struct {
		name, program, want string
		env                 string
		args                []string
	}{
		{name: "bad address", program: "echoserver", args: []string{"-addr", "nowhere"},
			want: "echoserver: listen tcp: address nowhere: missing port in address\n"},
		{name: "no program", program: "system", env: "PATH=/nowhere",
			want: "system: exec: \"echo\": executable file not found in $PATH\n"},
		{name: "no directory", program: "snapshot", env: "TMPDIR=/nowhere",
			want: "snapshot: open /nowhere/FILE: no such file or directory\n"},
		{name: "no directory", program: "locking", env: "TMPDIR=/nowhere",
			want: "locking: open /nowhere/FILE: no such file or directory\n"},
	} {
		t.Run(test.program+" "+test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			cmd := command(ctx, filepath.Join(bin, test.program), test.args...)
			cmd.Env = append(os.Environ(), test.env)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("%v, want exit status 1", err)
			}
			got := regexp.MustCompile(`nowhere/[a-z]+\d+`).ReplaceAllString(stderr.String(), "nowhere/FILE")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}
