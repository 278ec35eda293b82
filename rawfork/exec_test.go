//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rawfork"
)

func TestExec(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	file("script", "echo \"$0 $1\"; exit 5\n", 0o755) // without #!: the shell's
	file("plain", "echo no\n", 0o644)
	file("broken", "#!/no/such/interpreter\n", 0o755)
	file("cat", "#!/bin/sh\nexit 9\n", 0o644) // not executable: the next in PATH is
	if err := os.Mkdir(filepath.Join(dir, "true"), 0o755); err != nil {
		t.Fatal(err)
	}
	report := func(title string) string {
		return title + `\n  wall +[0-9.]+ m?s\n  user +[0-9.]+ m?s\n  system +[0-9.]+ m?s\n  memory +(< )?[0-9.]+ MB\n`
	}
	for _, test := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // the latter a regular expression
	}{
		{"ok", []string{"--", "echo", "a b", "-n"}, 0, "a b -n\n", report("echo a b -n: exit status 0")},
		{"without --", []string{"echo", "--json", "-n", "1"}, 0, "--json -n 1\n", report("echo --json -n 1: exit status 0")},
		{"status", []string{"--", "sh", "-c", "exit 3"}, 3, "", report("sh -c exit 3: exit status 3")},
		{"signal", []string{"--", "sh", "-c", "kill -KILL $$"}, 137, "", report(`sh .*: killed by SIGKILL \(killed\)`)},
		{"control characters", []string{"--", "true", "\x1b[2J"}, 0, "", report(`true \\x1b\[2J: exit status 0`)},
		{"path", []string{"--", dir + "/script", "x"}, 5, dir + "/script x\n", report(".*: exit status 5")},
		{"PATH", []string{"--", "script"}, 5, dir + "/script \n", report("script: exit status 5")},
		{"PATH beyond a directory", []string{"--", "true"}, 0, "", report("true: exit status 0")},
		{"PATH beyond a plain file", []string{"--", "cat", "/dev/null"}, 0, "", report("cat /dev/null: exit status 0")},
		{"not in PATH", []string{"--", "no-such-program"}, 127, "", "rawfork: exec: no-such-program: not in PATH: no such file or directory\n"},
		{"control characters in what isn't there", []string{"--", "\x1b[2J\xff"}, 127, "", `rawfork: exec: \\x1b\[2J\\xff: not in PATH: no such file or directory` + "\n"},
		{"no name", []string{"--", ""}, 127, "", "rawfork: exec: .*no such file or directory\n"},
		{"no file", []string{"--", dir + "/none"}, 127, "", "rawfork: exec: fork/exec .*/none: execve: no such file or directory\n"},
		{"below a file", []string{"--", dir + "/plain/x"}, 127, "", "rawfork: exec: fork/exec .*: execve: not a directory\n"},
		{"directory", []string{"--", dir}, 126, "", "rawfork: exec: fork/exec .*: execve: permission denied\n"},
		{"not executable", []string{"--", dir + "/plain"}, 126, "", "rawfork: exec: fork/exec .*/plain: execve: permission denied\n"},
		{"not executable in PATH", []string{"--", "plain"}, 126, "", "rawfork: exec: plain: in PATH, but: permission denied\n"},
		{"no interpreter", []string{"--", dir + "/broken"}, 127, "", "rawfork: exec: fork/exec .*/broken: execve: no such file or directory\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := command(t, append([]string{"exec"}, test.args...)...)
			cmd.Env = append(cmd.Env, "PATH="+dir+":"+os.Getenv("PATH"))
			code, stdout, stderr := run(t, cmd)
			if code != test.code || stdout != test.stdout {
				t.Errorf("exit status %d, want %d; stdout %q, want %q", code, test.code, stdout, test.stdout)
			}
			if want := regexp.MustCompile("^" + test.stderr + "$"); !want.MatchString(stderr) {
				t.Errorf("stderr:\n%s\nwant %s", stderr, want)
			}
		})
	}
}

// A series has min, median and max, and the exit status of its first failure.
func TestExecSeries(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	script := `echo x >> "$0"; case $(wc -l < "$0") in 2) exit 4;; 3) exit 5;; esac`
	code, stdout, stderr := run(t, command(t, "exec", "-n", "5", "--", "sh", "-c", script, count))
	if code != 4 || stdout != "" {
		t.Errorf("exit status %d, want 4; stdout %q", code, stdout)
	}
	lines := strings.Split(stderr, "\n")
	if !regexp.MustCompile(`^5 runs of sh .*: 3 x exit status 0, 1 x exit status 4, 1 x exit status 5$`).MatchString(lines[0]) {
		t.Errorf("title %q", lines[0])
	}
	if got := strings.Fields(lines[1]); strings.Join(got, " ") != "min median max" {
		t.Errorf("columns %q", got)
	}
	if text, err := os.ReadFile(count); err != nil || string(text) != strings.Repeat("x\n", 5) {
		t.Errorf("ran as %q, %v", text, err)
	}
}

// The program has the standard input, and what it inherits otherwise.
func TestExecInherits(t *testing.T) {
	cmd := command(t, "exec", "--", "sh", "-c", `read line; echo "$line $WORD $(pwd)"`)
	cmd.Stdin = strings.NewReader("one\n")
	cmd.Env = append(cmd.Env, "WORD=two")
	cmd.Dir = "/"
	if code, stdout, stderr := run(t, cmd); code != 0 || stdout != "one two /\n" {
		t.Errorf("exit status %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// Every method runs the program, and the errors are the same.
func TestExecByMethod(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("exit 5\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	step := map[rawfork.Method]string{rawfork.ByFork: "execve: ", rawfork.ByVfork: "execve: ",
		rawfork.BySpawn: "posix_spawn: ", rawfork.BySyscall: "", rawfork.ByHelper: "execve: "}
	for _, m := range rawfork.Methods() {
		t.Run(m.String(), func(t *testing.T) {
			for _, test := range []struct {
				program []string
				code    int
				stderr  string // the beginning of an error
			}{
				{[]string{"sh", "-c", "exit 3"}, 3, ""},
				{[]string{text}, 5, ""}, // of no format: the shell's
				{[]string{"no-such-program"}, 127, "rawfork: exec: no-such-program: not in PATH: "},
				{[]string{"/nope"}, 127, fmt.Sprintf("rawfork: exec: %v/exec /nope: %sno such file or directory\n", m, step[m])},
			} {
				args := append([]string{"exec", "-method", m.String(), "-json", "--"}, test.program...)
				code, stdout, stderr := run(t, command(t, args...))
				if code != test.code || stdout != "" {
					t.Errorf("%v: exit status %d, want %d; stdout %q, stderr %q", test.program, code, test.code, stdout, stderr)
				}
				if !strings.HasPrefix(stderr, test.stderr) {
					t.Errorf("%v: stderr %q, want %q", test.program, stderr, test.stderr)
				}
				if want := `"method": "` + m.String() + `"`; test.code != 127 && !strings.Contains(stderr, want) {
					t.Errorf("no %s in %s", want, stderr)
				}
			}
		})
	}
}
