//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rawfork/compare"
	"rawfork/internal/forktest"
	"rawfork/internal/ps"
	"rawfork/internal/timing"
	"rawfork/rules"
	"rawfork/tour"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The command is the test binary that plays main.
func TestMain(m *testing.M) {
	compare.Init() // for the Go children of serve, and the measuring processes of compare
	rules.Init()
	forktest.Main(m, map[string]func(){"rawfork": main})
}

// command is the command with its arguments, in an environment without what
// would change its output.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := forktest.Command(t, "rawfork", args...)
	cmd.Env = append(cmd.Env, "COLUMNS=", "NO_COLOR=", "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // one to be killed with its children
	// Where the tests themselves run with a signal ignored, as under nohup, the command
	// would inherit that; what is caught here is at its default there.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM)
	t.Cleanup(func() { signal.Stop(caught) })
	watch := time.AfterFunc(2*forktest.Watchdog, func() {
		if cmd.Process != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	t.Cleanup(func() { watch.Stop() })
	return cmd
}

// run runs the command to its end, which leaves no process behind.
func run(t *testing.T, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	wantNoOrphans(t)
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// wantNoOrphans fails the test if the command has left a process: as a subreaper
// the test's process would have got it.
func wantNoOrphans(t *testing.T) {
	t.Helper()
	left, err := ps.Children(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range left {
		// The step orphan gives one to init, here to the test: it ends by itself.
		forktest.WantExit(t, pid, 0)
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args   string
		code   int
		stderr string // a regular expression for the whole
	}{
		{"", 0, ``},
		{"--help", 0, ``},
		{"version", 0, ``},
		{"--version", 0, ``},
		{"completion bash", 0, ``},
		{"completion", 0, ``},
		{"help tour", 0, ``},
		{"tuor", 2, `rawfork: no command "tuor" \(did you mean "tour"\?\); see 'rawfork --help'`},
		{"xyz", 2, `rawfork: no command "xyz"; see 'rawfork --help'`},
		{"--nope", 2, `rawfork: unknown flag: --nope; see 'rawfork --help'`},
		{"help xyz", 2, `rawfork: no command "xyz"; see 'rawfork --help'`},
		{"help tour xyz", 2, `rawfork: no command "xyz"; see 'rawfork --help'`},
		{"completion xyz", 2, `rawfork: no command "xyz"; see 'rawfork completion --help'`},
		{"version xyz", 2, `rawfork: unknown command "xyz" .*; see 'rawfork version --help'`},
		{"tour --nope", 2, `rawfork: unknown flag: --nope; see 'rawfork tour --help'`},
		{"tour xyz", 2, `rawfork: tour: no step "xyz"; .*--list.*; see 'rawfork tour --help'`},
		{"tour c1 c2", 2, `rawfork: .*at most 1.*; see 'rawfork tour --help'`},
		{"exec", 2, `rawfork: exec: no program given; see 'rawfork exec --help'`},
		{"exec -n 0 -- true", 2, `rawfork: exec: -n 0: .*; see 'rawfork exec --help'`},
		{"exec -n x -- true", 2, `rawfork: invalid argument "x" for "-n, --runs" .*; see 'rawfork exec --help'`},
		{"exec -method clone -- true", 2, `rawfork: exec: no method "clone"; there are fork, vfork, .*; see 'rawfork exec --help'`},
		{"diff clone", 2, `rawfork: diff: no way "clone"; there are child, fork, vfork, .*; see 'rawfork diff --help'`},
		{"diff --nope", 2, `rawfork: unknown flag: --nope; see 'rawfork diff --help'`},
		{"compare --list", 0, ``},
		{"compare heep", 2, `rawfork: compare: no experiment "heep"; there are heap, fork, .*; see 'rawfork compare --help'`},
		{"compare --methods fork,x", 2, `rawfork: compare: no method "x"; there are syscall, .*; see 'rawfork compare --help'`},
		{"compare fork --methods vfork", 2, `rawfork: compare: no method "vfork" in fork; there are fork-only, .*; see 'rawfork compare --help'`},
		{"compare --heap 4x", 2, `rawfork: compare: --heap: no size: "4x"; .*; see 'rawfork compare --help'`},
		{"compare -o /proc/none heap", 1, `rawfork: compare: output: mkdir /proc/none: no such file or directory`},
		{"exec -n", 2, `rawfork: flag needs an argument: 'n' in -n; see 'rawfork exec --help'`},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := run(t, command(t, strings.Fields(test.args)...))
			if want := regexp.MustCompile(`^(` + test.stderr + `\n)$`); test.code != 0 && !want.MatchString(stderr) {
				t.Errorf("stderr %q, want %s", stderr, want)
			}
			if code != test.code || (code == 0) != (stderr == "") || (code == 0) != (stdout != "") {
				t.Errorf("exit status %d, want %d; stdout %q, stderr %q", code, test.code, stdout, stderr)
			}
		})
	}
}

// Help fits a terminal, that of every subcommand too.
func TestHelp(t *testing.T) {
	_, help, _ := run(t, command(t, "--help"))
	texts := []string{help}
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`).FindAllStringSubmatch(help, -1) {
		if m[1] != "completion" { // cobra's own text
			_, text, _ := run(t, command(t, m[1], "--help"))
			texts = append(texts, text)
		}
	}
	if len(texts) < 5 {
		t.Errorf("%d subcommands in:\n%s", len(texts)-1, help)
	}
	for _, line := range strings.Split(strings.Join(texts, "\n"), "\n") {
		if len(line) > lineLength {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

// What the command says, with all numbers masked.
func TestGolden(t *testing.T) {
	for name, args := range map[string]string{
		"help-tour": "tour --help",
		"help-exec": "exec --help",
		"help-diff": "diff --help",
		"tour-list": "tour --list",
		"twice":     "tour twice",
		"system":    "tour system",
		"status":    "tour C9",
		"zombie":    "tour zombie",
		"poll":      "tour poll",
		"errors":    "tour errors",
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, command(t, strings.Fields(args)...))
			if code != 0 || stderr != "" {
				t.Fatalf("exit status %d, stderr %q", code, stderr)
			}
			for _, line := range strings.Split(stdout, "\n") {
				if len(line) > lineLength && !strings.Contains(line, "exe") {
					t.Errorf("%d columns: %s", len(line), line)
				}
			}
			golden(t, name, mask(stdout))
		})
	}
}

// mask takes out what is another number, name or width each time.
func mask(text string) string {
	for _, m := range []struct{ pattern, with string }{
		// A child that has just spoken runs or sleeps: only Z is certain.
		{`(?m)^ +[0-9]+ \S+ +Z\S* +[0-9]+:[0-9]+ .*`, "           PID TTY      Z      TIME COMMAND"},
		{`(?m)^ +[0-9]+ \S+ +[RSD]\S* +[0-9]+:[0-9]+ .*`, "           PID TTY      S      TIME COMMAND"},
		{`(pid|pid is|child|returned|parent's|killed|reaped|parent) [1-9][0-9]+`, "$1 N"},
	} {
		text = regexp.MustCompile(m.pattern).ReplaceAllString(text, m.with)
	}
	return text
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestTour(t *testing.T) {
	code, stdout, stderr := run(t, command(t, "tour"))
	if code != 0 || stderr != "" {
		t.Errorf("exit status %d, stderr %q\n%s", code, stderr, stdout)
	}
	for _, step := range tour.Steps() {
		if !strings.Contains(stdout, step.Title+" ("+step.Name+")\n") {
			t.Errorf("no step %s in:\n%s", step.Name, stdout)
		}
	}
	last := regexp.MustCompile(`\n21 steps of 21 are as the chapter says \([0-9.]+ s\)\n$`)
	if !last.MatchString(stdout) || strings.Contains(stdout, "\x1b") {
		t.Errorf("no summary, or colours in a pipe:\n%s", stdout)
	}
}

func TestJSON(t *testing.T) {
	var results []tour.Result
	code, stdout, _ := run(t, command(t, "tour", "c10", "--json"))
	decode(t, stdout, &results)
	if code != 0 || len(results) != 1 || results[0].Row != "C10" || results[0].Outcome != tour.Holds ||
		results[0].Seen == "" || len(results[0].Lines) == 0 || results[0].Seconds <= 0 {
		t.Errorf("exit status %d, %+v", code, results)
	}

	var list []map[string]string
	_, stdout, _ = run(t, command(t, "tour", "--list", "--json"))
	decode(t, stdout, &list)
	if len(list) != len(tour.Steps()) || list[0]["row"] != "C1" || list[0]["claim"] == "" {
		t.Errorf("%v", list)
	}

	var report timing.Report
	code, stdout, stderr := run(t, command(t, "exec", "-n", "3", "--json", "--", "sh", "-c", "echo out; kill -TERM $$"))
	decode(t, stderr, &report)
	if report.Method != "fork" {
		t.Errorf("by %q, want fork", report.Method)
	}
	if code != 143 || stdout != "out\nout\nout\n" || report.Exit != 143 || len(report.Runs) != 3 ||
		report.Runs[0].Signal != "SIGTERM" || report.Runs[0].Status != 143 || report.Path == "" ||
		report.Min.Wall <= 0 || report.Min.Wall > report.Median.Wall || report.Median.Wall > report.Max.Wall {
		t.Errorf("exit status %d, stdout %q, %+v", code, stdout, report)
	}
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
}
