//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rawfork/compare"
	"rawfork/internal/text"
)

// A run measures what was asked for and nothing more, and writes it in each form.
func TestCompare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	args := []string{"compare", "fork", "-turns", "1", "-heap", "16MB", "-methods", "fork-only"}
	code, stdout, stderr := run(t, command(t, append(args, "-json")...))
	var report compare.Report
	if err := json.Unmarshal([]byte(stdout), &report); code != 0 || stderr != "" || err != nil {
		t.Fatalf("exit status %d, stderr %q, %v: %s", code, stderr, err, stdout)
	}
	var measured []string
	for _, result := range report.Results {
		for _, p := range result.Points {
			if len(p.Measured["wait"].Turns) != 1 || p.Measured["wait"].Median <= 0 {
				t.Errorf("%s at %v: %+v", p.Method, p.X, p.Measured["wait"])
			}
			measured = append(measured, result.Experiment+" "+p.Method)
		}
	}
	if got, want := strings.Join(measured, ", "), "fork fork-only, fork cfork-only"; got != want { // the reference always
		t.Errorf("measured %s, want %s", got, want)
	}

	code, stdout, stderr = run(t, command(t, append(args, "-all", "-o", dir)...))
	for _, want := range []string{"page faults of the new process", "context switches of the caller", "how long the call keeps its caller, by", "note: fewer than 6 turns"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if code != 0 || stderr != "" || !strings.Contains(stdout, "fork-only") || colour.MatchString(stdout) {
		t.Errorf("exit status %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	for _, name := range []string{"compare.txt", "compare.bench", "compare.html", "compare.svg"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), "fork") {
			t.Errorf("%s: %v, %d bytes", name, err, len(text))
		}
	}
}

// On a terminal a bar shows how far the run is. Ctrl-C ends the run and keeps what
// was measured.
func TestCompareInterrupted(t *testing.T) {
	dir := t.TempDir()
	master, slave := openTerminal(t, 80)
	defer master.Close()
	cmd := command(t, "compare", "fork", "latency", "-turns", "1", "-o", dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = false, true, true
	err := cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	b := make([]byte, 4096)
	for told := false; ; {
		n, err := master.Read(b)
		seen.Write(b[:n])
		if !told && strings.Contains(seen.String(), "fork, 64 MB") { // 16 MB have been measured
			told = true
			if _, err := io.WriteString(master, "\x03"); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			break // EIO: nobody has the terminal any more
		}
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("%v, want exit status 130", cmd.ProcessState)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "compare.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{colour.ReplaceAllString(seen.String(), ""), string(kept)} {
		for _, want := range []string{"fork-only", "16 MB", "Stopped before all was measured: interrupt."} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in %q", want, text)
			}
		}
		if strings.Contains(text, "latency:") {
			t.Errorf("an answer to what was not measured: %q", text)
		}
	}
	wantNoOrphans(t)
}

// What can't be measured as asked for is said first, on standard error, and in the report.
// The processes can be looked at alone.
func TestCompareNotices(t *testing.T) {
	code, stdout, stderr := run(t, command(t, "compare", "semantics", "tables", "-turns", "1", "-heap", "16MB", "-methods", "vfork,spawn"))
	if want := "rawfork: compare: note: tables: it has no spawn; its methods are fork-only, syscall, vfork, helper\n"; code != 0 || stderr != want {
		t.Errorf("exit status %d, stderr %q, want %q", code, stderr, want)
	}
	for _, want := range []string{"note: it has no spawn", "semantics: What has", "Signals blocked"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "osexec") {
		t.Errorf("a method that was not asked for:\n%s", stdout)
	}
}

func TestTimeLeft(t *testing.T) {
	at := compare.Progress{Doing: "heap, 16 MB", Left: 100 * time.Second}
	for _, test := range []struct {
		width int
		ago   time.Duration
		want  string
	}{
		{80, 0, "1m40s left  heap, 16 MB"},
		{80, 3 * time.Second, "1m37s left  heap, 16 MB"},
		{80, 5 * time.Minute, "1s left  heap, 16 MB"},
		{40, 0, "1m40s left  heap, 1"},
		{0, 0, "1m40s left  heap, 16 MB"}, // nobody knows how wide it is
	} {
		if diff := cmp.Diff(test.want, timeLeft(text.Style{Width: test.width}, at, test.ago)); diff != "" {
			t.Errorf("width %d, %v ago (-want +got):\n%s", test.width, test.ago, diff)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "512MB": 512 << 20, "4g": 4 << 30, "4GB": 4 << 30, "16kb": 16 << 10, "1T": 1 << 40} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "x", "4x", "GB", "4 GB", "1bk", "9223372036854775807", "8388608T", "1.5g"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}
