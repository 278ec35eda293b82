// Package timing runs a program by any method of rawfork, as time(1) does, and tells
// what became of it and what it took.
package timing

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"rawfork"
	"rawfork/child"
)

// A Program is ready to be run by [Program.Run], any number of times.
type Program struct {
	Path string   // the file that is run
	Argv []string // its arguments, its name first

	// By is the way to start it. The zero value is fork.
	By rawfork.Method
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

// prepare tells early of what can't be run.
func prepare(path string, argv []string) (*Program, error) {
	if _, err := child.PrepareImage(path, argv, os.Environ()); err != nil {
		return nil, err
	}
	return &Program{Path: path, Argv: argv}, nil
}
