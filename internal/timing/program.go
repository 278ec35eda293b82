// Package timing runs a program by a real fork and exec, as time(1) does, and
// tells what became of it and what it took.
package timing

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"rawfork/child"
)

// A Program is ready to be run by [Program.Run], any number of times.
type Program struct {
	Path string   // the file that is run
	Argv []string // its arguments, its name first

	image  *child.Image
	script *child.Image // by the shell, should the kernel not know the format
}

// Find finds the program argv[0] as a shell does: a name with a slash is a path,
// any other is searched for in the directories of PATH. A program that is not
// there is an error that wraps ENOENT; one that is there and can't be run wraps
// another errno, EACCES or EISDIR.
func Find(argv []string) (*Program, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, fmt.Errorf("no name of a program: %w", syscall.ENOENT)
	}
	name := argv[0]
	if strings.Contains(name, "/") {
		return prepare(name, argv)
	}
	denied := false
	for _, dir := range strings.Split(searchPath(), ":") {
		if dir == "" {
			dir = "."
		}
		program, err := prepare(dir+"/"+name, argv)
		switch {
		case err == nil:
			return program, nil
		case errors.Is(err, syscall.EINVAL):
			return nil, err // an argument is wrong: no other directory mends that
		case errors.Is(err, syscall.EACCES):
			denied = true
		}
	}
	if denied {
		return nil, fmt.Errorf("%s: in PATH, but: %w", name, syscall.EACCES)
	}
	return nil, fmt.Errorf("%s: not in PATH: %w", name, syscall.ENOENT)
}

// searchPath is PATH, or what execvp(3) takes in its place.
func searchPath() string {
	if path, ok := os.LookupEnv("PATH"); ok {
		return path
	}
	return "/bin:/usr/bin"
}

func prepare(path string, argv []string) (*Program, error) {
	image, err := child.PrepareImage(path, argv, os.Environ())
	if err != nil {
		return nil, err
	}
	// execvp(3) gives a file without a format to the shell, and so do shells.
	shell := append([]string{"sh", path}, argv[1:]...)
	script, err := child.PrepareImage("/bin/sh", shell, os.Environ())
	if err != nil {
		script = nil // no shell here: then ENOEXEC is the answer
	}
	return &Program{Path: path, Argv: argv, image: image, script: script}, nil
}
