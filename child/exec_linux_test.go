//go:build cgo && (amd64 || arm64)

package child_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/child"
	"rawfork/internal/forktest"
)

func TestPrepareImageErrors(t *testing.T) {
	dir := t.TempDir()
	plain := file(t, dir, "plain", "text", 0o644)
	program := file(t, dir, "program", "", 0o755)
	fifo := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(fifo, 0o755))
	loop := filepath.Join(dir, "loop")
	must(t, os.Symlink("loop", loop))
	argv := []string{"program"}
	for _, test := range []struct {
		name, path string
		argv, env  []string
		want       error
	}{
		{"missing", dir + "/missing", argv, nil, syscall.ENOENT},
		{"empty path", "", argv, nil, syscall.ENOENT},
		{"directory", dir, argv, nil, syscall.EISDIR},
		{"file as a directory", plain + "/x", argv, nil, syscall.ENOTDIR},
		{"not executable", plain, argv, nil, syscall.EACCES},
		{"fifo", fifo, argv, nil, syscall.EACCES},
		{"loop", loop, argv, nil, syscall.ELOOP},
		{"long name", "/" + strings.Repeat("x", 256), argv, nil, syscall.ENAMETOOLONG},
		{"long path", strings.Repeat("/x", 2048), argv, nil, syscall.ENAMETOOLONG},
		{"NUL in the path", program + "\x00", argv, nil, syscall.EINVAL},
		{"no argv", program, nil, nil, syscall.EINVAL},
		{"NUL in argv", program, []string{"program", "a\x00b"}, nil, syscall.EINVAL},
		{"NUL in env", program, argv, []string{"A=\x00"}, syscall.EINVAL},
		{"good", program, argv, []string{}, nil},
		{"empty strings", program, []string{""}, []string{""}, nil},
	} {
		image, err := child.PrepareImage(test.path, test.argv, test.env)
		if !errors.Is(err, test.want) || (image == nil) != (test.want != nil) {
			t.Errorf("%s: image %v, error %v, want %v", test.name, image, err, test.want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "image ") {
			t.Errorf("%s: the error %q doesn't name the operation", test.name, err)
		}
	}
	if _, err := child.PrepareString("a\x00b"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("PrepareString with a NUL byte: %v, want EINVAL", err)
	}
}

func file(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), mode))
	return path
}

func image(t *testing.T, path string, argv, env []string) *child.Image {
	t.Helper()
	image, err := child.PrepareImage(path, argv, env)
	must(t, err)
	return image
}

// execute runs an image in a child whose standard output is returned, and what
// Exec returned if it did.
//
//go:norace
func execute(t *testing.T, image *child.Image) (output string, status syscall.WaitStatus, errno syscall.Errno) {
	got := shared[syscall.Errno](t)
	r, w := pipe(t, 0)
	pid := fork(t)
	if pid == 0 {
		child.Dup3(w, 1, 0)
		*got = child.Exec(image)
		child.Exit(100)
	}
	drop(w)
	b := all(t, r)
	return string(b), forktest.Wait(t, pid), *got
}

func TestExec(t *testing.T) {
	dir := t.TempDir()
	script := file(t, dir, "script", "#!/bin/sh\necho \"$@\" $VARIABLE\nexit 5\n", 0o755)
	closed := file(t, dir, "closed", "#!/bin/sh\nif [ -e /proc/$$/fd/$1 ]; then echo open; else echo closed; fi\n", 0o755)
	r, _ := pipe(t, 0) // close-on-exec
	for _, test := range []struct {
		name   string
		image  *child.Image
		output string
		status int
	}{
		{"static program", image(t, forktest.ExitProgram(t), []string{"x"}, nil), "", 0},
		{"dynamic program", image(t, "/bin/sh", []string{"sh", "-c", "echo $0 $VARIABLE", "zero"}, []string{"VARIABLE=value"}), "zero value\n", 0},
		{"script", image(t, script, []string{"ignored", "a", "b"}, []string{"VARIABLE=value"}), "a b value\n", 5},
		{"no environment", image(t, script, []string{"x", "a"}, nil), "a\n", 5},
		{"close-on-exec", image(t, closed, []string{"x", strconv.Itoa(r)}, nil), "closed\n", 0},
		{"standard output", image(t, closed, []string{"x", "1"}, nil), "open\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			output, status, errno := execute(t, test.image)
			if errno != 0 {
				t.Fatalf("Exec: %v", errno)
			}
			if diff := cmp.Diff(test.output, output); diff != "" || status.ExitStatus() != test.status {
				t.Errorf("%s, want exit status %d; output (-want +got)\n%s", forktest.Describe(status), test.status, diff)
			}
		})
	}
}

func TestExecErrors(t *testing.T) {
	dir := t.TempDir()
	argv := []string{"x"}
	text := image(t, file(t, dir, "text", "no program\n", 0o755), argv, nil)
	empty := image(t, file(t, dir, "empty", "", 0o755), argv, nil)
	noInterpreter := image(t, file(t, dir, "script", "#!/missing/interpreter\n", 0o755), argv, nil)
	long := image(t, "/bin/sh", []string{"sh", strings.Repeat("x", 4<<20)}, nil)
	removedPath := file(t, dir, "removed", "#!/bin/sh\n", 0o755)
	removed := image(t, removedPath, argv, nil)
	must(t, os.Remove(removedPath))
	forbiddenPath := file(t, dir, "forbidden", "#!/bin/sh\n", 0o755)
	forbidden := image(t, forbiddenPath, argv, nil)
	must(t, os.Chmod(forbiddenPath, 0o644))
	busyPath := forktest.ExitProgram(t)
	busy := image(t, busyPath, argv, nil)
	open(t, busyPath, unix.O_WRONLY)
	for _, test := range []struct {
		name  string
		image *child.Image
		want  syscall.Errno
	}{
		{"no image", nil, syscall.EFAULT},
		{"zero image", new(child.Image), syscall.EFAULT},
		{"text", text, syscall.ENOEXEC},
		{"empty file", empty, syscall.ENOEXEC},
		{"missing interpreter", noInterpreter, syscall.ENOENT},
		{"long arguments", long, syscall.E2BIG},
		{"removed", removed, syscall.ENOENT},
		{"not executable any more", forbidden, syscall.EACCES},
		{"open for writing", busy, syscall.ETXTBSY},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, status, errno := execute(t, test.image)
			if errno != test.want || status.ExitStatus() != 100 {
				t.Errorf("errno %v, %s, want %v and a child that goes on", errno, forktest.Describe(status), test.want)
			}
		})
	}
}
