package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"rawfork/internal/text"
)

// The exit statuses of rawfork itself. exec also ends with those of its program.
const (
	statusOK     = 0
	statusFailed = 1 // what is shown does not hold, or could not be shown
	statusUsage  = 2 // wrong usage
)

// An exitStatus is an error with an exit status of its own. Without an err, all
// has been said already.
type exitStatus struct {
	code int
	err  error
}

func (s exitStatus) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit status %d", s.code)
	}
	return s.err.Error()
}

// unwritten is what a command ends with that can't write its output: without a word, as by
// SIGPIPE, if who reads it has gone.
func unwritten(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return exitStatus{code: 128 + int(syscall.SIGPIPE)}
	}
	return err
}

// A usageError is wrong usage that a command finds for itself.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// execute runs the command that the arguments name and returns the exit status
// for what came of it. An error is one line on standard error.
func execute(root *cobra.Command) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	refuseUnknown(root)
	// Cobra checks flags and arguments before this hook: an error that comes
	// without it is wrong usage, one that comes after it is the command's own.
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }

	root.SetArgs(goStyle(root, os.Args[1:]))
	cmd, err := root.ExecuteC()
	var status exitStatus
	var usage usageError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &status):
		if status.err != nil {
			fmt.Fprintf(os.Stderr, "rawfork: %s\n", oneLine(err))
		}
		return status.code
	case !started || errors.As(err, &usage):
		if cmd.Name() == "help" {
			cmd = root
		}
		fmt.Fprintf(os.Stderr, "rawfork: %s; see '%s --help'\n", oneLine(err), cmd.CommandPath())
		return statusUsage
	}
	fmt.Fprintf(os.Stderr, "rawfork: %s\n", oneLine(err))
	return statusFailed
}

// refuseUnknown makes wrong usage of what cobra answers with a help text and exit
// status 0: an unknown subcommand of a command that only has subcommands, and an
// unknown topic of help.
func refuseUnknown(cmd *cobra.Command) {
	if !cmd.Runnable() {
		cmd.Args = knownCommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if cmd.Name() == "help" {
		cmd.Run = nil
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil {
				return usageError{err}
			}
			if err := knownCommand(topic, rest); err != nil {
				return usageError{err}
			}
			return topic.Help()
		}
	}
	for _, sub := range cmd.Commands() {
		refuseUnknown(sub)
	}
}

// knownCommand refuses arguments to a command that only has subcommands, and
// names the one that was probably meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("no command %q (did you mean %q?)", args[0], near[0])
	}
	return fmt.Errorf("no command %q", args[0])
}

// oneLine is an error as one line, without what a name that a user gave would do to a
// terminal.
func oneLine(err error) string {
	return text.Printable(strings.Join(strings.Fields(err.Error()), " "))
}
