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

// Find finds the program argv[0] as a shell does: a name with a slash is a path, of
// which [Program.Run] says what is wrong with it; any other is searched for in the
// directories of PATH. One that is in none is an error that wraps ENOENT; one that is
// there and can't be run wraps EACCES.
func Find(argv []string) (*Program, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, fmt.Errorf("no name of a program: %w", syscall.ENOENT)
	}
	name := argv[0]
	if strings.Contains(name, "/") {
		return &Program{Path: name, Argv: argv}, nil
	}
	denied := false
	for _, dir := range strings.Split(searchPath(), ":") {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + name
		_, err := child.PrepareImage(path, argv, nil) // tells early of what can't be run
		switch {
		case err == nil:
			return &Program{Path: path, Argv: argv}, nil
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
