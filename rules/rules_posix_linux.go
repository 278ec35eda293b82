//go:build cgo && (amd64 || arm64)

package rules

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/rules/internal/posix"
)

var posixRules = []Rule{
	{
		ID:     "atfork-order",
		Claim:  "Fork calls the handlers of pthread_atfork: those before it in the reverse order of their registration, those after it, in parent and child, in that order.",
		Source: "POSIX fork(), pthread_atfork(); pthread_atfork(3)",
		Check: func(t *T) {
			log, err := posix.AtFork(posix.Fork)
			t.Must(err)
			only := func(letters string) string {
				return strings.Map(func(r rune) rune {
					if strings.ContainsRune(letters, r) {
						return r
					}
					return -1
				}, log)
			}
			t.Equal("first of all", log[:min(2, len(log))], "ba")
			t.Equal("in the parent", only("AB"), "AB")
			t.Equal("in the child", only("12"), "12")
			t.Equal("calls in all", len(log), 6)
		},
	},
	{
		ID:     "atfork-not-by-ufork",
		Claim:  "_Fork calls no handlers of pthread_atfork, which fork calls.",
		Source: "POSIX.1-2024 _Fork(); fork(3)",
		Check: func(t *T) {
			by, err := posix.AtFork(posix.Fork)
			t.Must(err)
			t.Equal("calls of handlers by fork", len(by), 6)
			log, err := posix.AtFork(posix.UFork)
			if errors.Is(err, unix.ENOSYS) {
				t.Skip("libc has no _Fork")
			}
			t.Must(err)
			t.Equal("calls of handlers by _Fork", log, "")
		},
	},
	{
		ID:     "atfork-not-by-library",
		Claim:  "Where libc has _Fork, rawfork.Fork calls no handlers of pthread_atfork either.",
		Source: "ARCHITECTURE.md",
		Check: func(t *T) {
			if err := posix.UFork(); errors.Is(err, unix.ENOSYS) {
				t.Skip("libc has no _Fork")
			}
			log, err := posix.AtFork(func() error {
				pid, err := rawfork.Fork()
				if pid == 0 && err == nil {
					child.Exit(done)
				}
				if err == nil {
					_, err = rawfork.Wait(pid)
				}
				return err
			})
			t.Must(err)
			t.Equal("calls of handlers", log, "")
		},
	},
	{
		ID:     "exit-handlers",
		Claim:  "A child that ends by exit runs the functions that its parent registered by atexit; one that ends by _exit runs none.",
		Source: "POSIX exit(), _exit(); atexit(3)",
		Check: func(t *T) {
			for _, by := range []struct {
				name string
				exit bool
				want int
			}{{"exit", true, 1}, {"_exit", false, 0}} {
				ran, err := posix.Exit(by.exit)
				t.Must(err)
				t.Equal("runs in a child that ends by "+by.name, ran, by.want)
			}
		},
	},
	{
		ID:     "stream-buffer",
		Claim:  "What is in a stream's buffer at the fork is in the child's too, and written twice if both flush it.",
		Source: "POSIX fork(), interaction of streams and descriptors; stdio(3)",
		Check: func(t *T) {
			for _, by := range []struct {
				name    string
				flushes bool
				want    string
			}{{"flushes too", true, "line\nline\n"}, {"doesn't flush", false, "line\n"}} {
				file := t.file("")
				t.Must(file.Truncate(0))
				t.Must(posix.Stream(int(file.Fd()), by.flushes))
				t.Equal("the file, when the child "+by.name, t.contents(file), by.want)
			}
		},
	},
	{
		ID:     "directory-stream-libc",
		Claim:  "A directory stream of libc goes on in both processes from where it was: what the child reads, the parent reads as well.",
		Source: "fork(2); readdir(3)",
		Check: func(t *T) {
			dir := t.Dir()
			for _, name := range []string{"a", "b", "c"} {
				t.Must(os.WriteFile(filepath.Join(dir, name), nil, 0o600))
			}
			inChild, inParent, err := posix.Directory(dir)
			t.Must(err)
			t.Equal("names that the child reads, of five but the first", inChild, 4)
			t.Equal("names that the parent reads then", inParent, 4)
		},
	},
	{
		ID:     "thread-kept",
		Claim:  "The child's thread is the copy of the one that forked, with its thread-local memory and its pthread_t.",
		Source: "POSIX fork(); pthreads(7)",
		Check: func(t *T) {
			kept, err := posix.Thread()
			t.Must(err)
			t.Equal("kept", kept, true)
		},
	},
}
