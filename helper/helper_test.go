//go:build linux && cgo && (amd64 || arm64)

package helper_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rawfork/helper"
	"rawfork/internal/forktest"
)

// Both kinds of children do what any Go program does.
func TestGoChildIsWhole(t *testing.T) {
	for _, ready := range []int{0, 3} {
		t.Run(fmt.Sprintf("ready %d", ready), func(t *testing.T) {
			h := start(t, helper.Options{Ready: ready})
			for range 10 {
				process, err := h.Go("run")
				if err != nil {
					t.Fatal(err)
				}
				wantExit(t, process, 7)
			}
			process, err := h.Go("signals")
			if err != nil {
				t.Fatal(err)
			}
			wantExit(t, process, 0)
		})
	}
}

// A child of clone(2) has its parent's thread id in libc's memory, unless the helper
// puts it right.
func TestLibcKnowsChildsThreadID(t *testing.T) {
	for _, ready := range []int{0, 1} {
		h := start(t, helper.Options{Ready: ready})
		for range 2 {
			text := run(t, h, "tid")
			if diff := cmp.Diff(lines(text, "kernel"), lines(text, "libc")); diff != "" {
				t.Errorf("id of the first thread (-kernel +libc):\n%s", diff)
			}
		}
		h.Close()
	}
}

// A Go child of a program that was built with -cover writes its counters.
func TestGoChildWritesCoverage(t *testing.T) {
	if testing.Short() {
		t.Skip("the program takes seconds to build")
	}
	program, dir := filepath.Join(t.TempDir(), "covered"), t.TempDir()
	build := exec.Command("go", "build", "-cover", "-coverpkg=rawfork/helper/testdata/covered", "-o", program, "rawfork/helper/testdata/covered")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+dir)
	pid, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, pid)
	}
	// covcounters.HASH.PID.TIME
	if counters, _ := filepath.Glob(filepath.Join(dir, "covcounters.*."+string(pid)+".*")); len(counters) != 1 {
		files, _ := os.ReadDir(dir)
		t.Errorf("counters of the child %s: %q of %v, want one file", pid, counters, files)
	}
}

func TestGoChildSeesTheProgram(t *testing.T) {
	for _, ready := range []int{0, 2} {
		t.Run(fmt.Sprintf("ready %d", ready), func(t *testing.T) {
			h := start(t, helper.Options{Ready: ready})
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			t.Setenv("HELPER_TEST", "a value\nof two lines=")
			os.Unsetenv("HOME")
			file, err := os.CreateTemp(dir, "file")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()

			text := run(t, h, "describe", file)
			if diff := cmp.Diff([]string{fmt.Sprintf("%q", os.Args)}, lines(text, "args")); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{dir}, lines(text, "dir")); diff != "" {
				t.Errorf("working directory (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{fmt.Sprint(os.Getpid())}, lines(text, "ppid")); diff != "" {
				t.Errorf("parent (-want +got):\n%s", diff)
			}
			var want []string
			for _, entry := range os.Environ() {
				want = append(want, strings.Split(entry, "\n")[0])
			}
			got := lines(text, "env")
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			fds := lines(text, "fd")
			if len(fds) != 5 {
				t.Errorf("open descriptors: %q, want 0, 1, 2 and two files", fds)
			}
			if !slices.ContainsFunc(fds, func(fd string) bool { return strings.HasSuffix(fd, " "+file.Name()) }) {
				t.Errorf("open descriptors: %q, want one of %s", fds, file.Name())
			}
		})
	}
}

// A descriptor that isn't close-on-exec is in no child, whenever it was opened.
func TestNoDescriptorLeaksIntoChildren(t *testing.T) {
	leaky := func() int {
		fd, err := syscall.Open("/dev/zero", syscall.O_RDONLY, 0) // no O_CLOEXEC
		if err != nil {
			t.Error(err)
		}
		return fd
	}
	before := leaky()
	defer syscall.Close(before)
	h := start(t, helper.Options{Ready: 2})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				syscall.Close(leaky())
			}
		}
	}()
	for range 40 {
		if fds := lines(run(t, h, "describe"), "fd"); len(fds) != 4 {
			t.Errorf("open descriptors: %q, want 0, 1, 2 and one file", fds)
		}
	}
	close(stop)
	<-stopped
}

func TestExitStatuses(t *testing.T) {
	h := start(t, helper.Options{Ready: 1})
	for _, test := range []struct {
		name string
		code int
	}{
		{"null", 0}, {"exit", 9}, {"panic", 2}, {strings.Repeat("n", 4096), 5},
	} {
		for range 2 {
			process, err := h.Go(test.name)
			if err != nil {
				t.Fatal(err)
			}
			wantExit(t, process, test.code)
		}
	}
	process, err := h.Go("kill")
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantSignal(t, process.Pid, syscall.SIGKILL)
}

// 253 descriptors are what the kernel takes in one message.
func TestManyFiles(t *testing.T) {
	h := start(t, helper.Options{Ready: 1})
	files := slices.Repeat([]*os.File{os.Stdin}, 253)
	for range 2 {
		process, err := h.Go("count", files...)
		if err != nil {
			t.Fatal(err)
		}
		wantExit(t, process, 253)
	}
	if _, err := h.Go("count", append(files, os.Stdin)...); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("254 files: %v, want E2BIG", err)
	}
}

// An environment that doesn't fit into one packet, nor into ten.
func TestHugeEnvironment(t *testing.T) {
	h := start(t, helper.Options{Ready: 1})
	t.Setenv("HELPER_TEST", strings.Repeat("x", 1<<20))
	for range 2 {
		env := lines(run(t, h, "describe"), "env")
		if !slices.Contains(env, "HELPER_TEST="+os.Getenv("HELPER_TEST")) {
			t.Errorf("the child hasn't got the environment of 1 MB")
		}
	}
	t.Setenv("HELPER_TEST", strings.Repeat("x", 33<<20))
	if _, err := h.Go("null"); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("environment of 33 MB: %v, want E2BIG", err)
	}
	if _, err := h.Go("run"); err == nil {
		t.Errorf("environment of 33 MB: no error, want E2BIG")
	}
}

func TestManyGoroutines(t *testing.T) {
	h := start(t, helper.Options{Ready: 2})
	var group sync.WaitGroup
	for range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 5 {
				process, err := h.Go("exit")
				if err != nil {
					t.Error(err)
					return
				}
				wantExit(t, process, 9)
			}
		}()
	}
	group.Wait()
}

func TestBadInput(t *testing.T) {
	for _, ready := range []int{-1, 1025} {
		if _, err := helper.Start(helper.Options{Ready: ready}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("Ready %d: %v, want EINVAL", ready, err)
		}
	}
	h := start(t, helper.Options{})
	if _, err := helper.Start(helper.Options{}); !errors.Is(err, helper.ErrStarted) {
		t.Errorf("second Start: %v, want %v", err, helper.ErrStarted)
	}
	closed, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, test := range []struct {
		what  string
		name  string
		files []*os.File
		want  error
	}{
		{"a name that isn't registered", "nobody", nil, syscall.ENOENT},
		{"an empty name", "", nil, syscall.EINVAL},
		{"a NUL byte", "a\x00b", nil, syscall.EINVAL},
		{"a name of 10 kB", strings.Repeat("x", 10_000), nil, syscall.ENAMETOOLONG},
		{"a nil file", "null", []*os.File{os.Stdin, nil}, syscall.EINVAL},
		{"a closed file", "null", []*os.File{closed}, os.ErrClosed},
	} {
		_, err := h.Go(test.name, test.files...)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.what, err, test.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: a message of %d bytes", test.what, len(err.Error()))
		}
	}
	process, err := h.Go("null") // nothing was lost
	if err != nil {
		t.Fatal(err)
	}
	wantExit(t, process, 0)
	for range 2 {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := h.Go("null"); !errors.Is(err, helper.ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, helper.ErrClosed)
	}
}

func TestRegisterPanics(t *testing.T) {
	null := func([]*os.File) int { return 0 }
	for _, test := range []struct {
		name string
		fn   helper.Func
	}{{"", null}, {"a\x00", null}, {strings.Repeat("x", 4097), null}, {"nil", nil}, {"null", null}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Register(%.10q) didn't panic", test.name)
				}
			}()
			helper.Register(test.name, test.fn)
		}()
	}
}

// A program that forgot Init would run main in its children.
func TestNoInit(t *testing.T) {
	cmd := forktest.Command(t, "noinit")
	cmd.Env = append(cmd.Env, noInitEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "ok" {
		t.Errorf("%v: %s", err, out)
	}
}
