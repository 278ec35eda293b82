package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"rawfork"
	"rawfork/helper"
	"rawfork/internal/timing"
)

func execCommand() *cobra.Command {
	var runs int
	var asJSON bool
	var method string
	cmd := &cobra.Command{
		Use:   "exec [--method M] [-n N] [--json] -- CMD [ARG...]",
		Short: "Run a program by fork and exec, and time it",
		Long: `exec runs a program in a child made by fork(2) and execve(2), or by another
method, found in PATH as a shell finds it, waits for it and says how it ended,
how long it took, how much processor time, and how much memory at its peak.

The report goes to standard error; standard output is the program's. The exit
status is the program's: 128 and the signal's number when a signal ended it, 127
when there is no such program, 126 when it can't be run. Of several runs it is
that of the first that failed. Ctrl-C ends the program, and rawfork reports.

An executable file of a format that the kernel doesn't know, as a script without
a first line "#!", is run by /bin/sh, as a shell and execvp(3) do it.

"< 1.7 MB" says that the program's own peak is below what its process held at
the time of the exec, which the kernel counts in. With --method spawn the
program starts with the soft limit on open files (ulimit -n) that every Go
process raises at its start; the other methods put it back.`,
		Example: `  rawfork exec -- sort big.txt > sorted.txt
  rawfork exec --method vfork -- ls -l
  rawfork exec -n 20 -- true
  rawfork exec --json -- make 2> report.json`,
		Args: programGiven,
		RunE: func(_ *cobra.Command, args []string) error {
			if runs < 1 {
				return usagef("exec: -n %d: a program is run once or more", runs)
			}
			by, err := rawfork.ParseMethod(method)
			if err != nil {
				return usagef("exec: no method %q; there are %s", method, methodNames())
			}
			return timeProgram(args, by, runs, asJSON)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the program is the program's
	cmd.Flags().StringVar(&method, "method", "fork", "by `M`: "+methodNames())
	cmd.RegisterFlagCompletionFunc("method", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return strings.Split(methodNames(), ", "), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.Flags().IntVarP(&runs, "runs", "n", 1, "run it `N` times, and give min, median and max")
	cmd.Flags().BoolVar(&asJSON, "json", false, "report in JSON")
	return cmd
}

// methodNames lists the methods that there are.
func methodNames() string {
	var names []string
	for _, m := range rawfork.Methods() {
		names = append(names, m.String())
	}
	return strings.Join(names, ", ")
}

func programGiven(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("exec: no program given")
	}
	return nil
}

func timeProgram(argv []string, by rawfork.Method, runs int, asJSON bool) error {
	program, err := timing.Find(argv)
	if err != nil {
		return notRun(err)
	}
	program.By = by
	if by == rawfork.ByHelper {
		h, err := helper.Start(helper.Options{})
		if err != nil {
			return err
		}
		defer h.Close()
	}
	floor, err := timing.PeakFloor(by)
	if err != nil {
		return err
	}
	interrupted := passInterrupts()
	series := timing.Series{Program: program, Floor: floor}
	for len(series.Runs) < runs && !interrupted() {
		run, err := program.Run()
		if err != nil {
			return notRun(err)
		}
		series.Runs = append(series.Runs, run)
		if run.Interrupted() {
			break // this process may not have got its own signal yet
		}
	}
	if err := report(series, asJSON); err != nil {
		return err
	}
	if code := series.Exit(); code != 0 {
		return exitStatus{code: code}
	}
	return nil
}

// notRun gives an error of exec the exit status that shells give it.
func notRun(err error) error {
	for _, missing := range []error{syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG} {
		if errors.Is(err, missing) {
			return exitStatus{127, fmt.Errorf("exec: %w", err)}
		}
	}
	for _, unfit := range []error{syscall.EACCES, syscall.EISDIR, syscall.ENOEXEC, syscall.ETXTBSY, syscall.E2BIG} {
		if errors.Is(err, unfit) {
			return exitStatus{126, fmt.Errorf("exec: %w", err)}
		}
	}
	return err
}

// passInterrupts leaves Ctrl-C and Ctrl-\ to the program, which gets them from
// the terminal as this process does. They are caught, not ignored: the child
// would inherit that. The function that it returns tells whether one came.
func passInterrupts() (interrupted func() bool) {
	came := make(chan os.Signal, 1)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		if !signal.Ignored(sig) { // else the program is to ignore it too
			signal.Notify(came, sig)
		}
	}
	return func() bool { return len(came) > 0 }
}

func report(series timing.Series, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprint(os.Stderr, series.Text(styleOf(os.Stderr)))
		return err
	}
	return writeJSON(os.Stderr, series.Report())
}
