package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"rawfork/tour"
)

func tourCommand() *cobra.Command {
	var list, asJSON bool
	cmd := &cobra.Command{
		Use:   "tour [STEP]",
		Short: "Run the chapter on forking, live, step by step",
		Long: `tour shows every system of the chapter on forking with real processes, and with
what ps says of them. Each step ends in what was seen. The exit status is 1 if
that is not what the chapter says. A STEP is a name or a row of the chapter.`,
		Example: `  rawfork tour
  rawfork tour --list
  rawfork tour zombie
  rawfork tour C10 --json`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, step := range tour.Steps() {
				names = append(names, step.Name+"\t"+step.Title)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			steps := tour.Steps()
			if len(args) > 0 {
				step, ok := tour.Find(args[0])
				if !ok {
					return usagef("tour: no step %q; 'rawfork tour --list' lists them", args[0])
				}
				steps = []tour.Step{step}
			}
			if list {
				return listSteps(os.Stdout, steps, asJSON)
			}
			return runTour(cmd.Context(), steps, asJSON)
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "list the steps")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the results in JSON")
	return cmd
}

func listSteps(w io.Writer, steps []tour.Step, asJSON bool) error {
	if asJSON {
		type listed struct {
			Row   string `json:"row"`
			Name  string `json:"name"`
			Title string `json:"title"`
			Claim string `json:"claim"`
		}
		all := []listed{}
		for _, step := range steps {
			all = append(all, listed{step.Row, step.Name, step.Title, step.Claim})
		}
		return writeJSON(w, all)
	}
	for _, step := range steps {
		fmt.Fprintf(w, "%-4s %-13s %s\n", step.Row, step.Name, step.Title)
	}
	return nil
}

// runTour shows the steps until one of them is interrupted.
func runTour(ctx context.Context, steps []tour.Step, asJSON bool) error {
	if len(steps) == 0 {
		return fmt.Errorf("tour: fork: %w", errors.ErrUnsupported)
	}
	ctx, interrupt := context.WithCancelCause(ctx)
	defer endBySignal("tour", interrupt)()
	out := tourPrinter{w: os.Stdout, style: styleOf(os.Stdout), quiet: asJSON, interrupt: interrupt}
	var results []tour.Result
	for _, step := range steps {
		out.heading(step)
		result, err := step.Run(ctx, out.line)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			return fmt.Errorf("tour: %w", err)
		}
		out.result(result)
		results = append(results, result)
	}
	if asJSON {
		if err := writeJSON(os.Stdout, results); err != nil {
			return err
		}
	}
	out.summary(results)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if count(results, tour.Fails) > 0 {
		return exitStatus{code: statusFailed}
	}
	return nil
}

// endBySignal has Ctrl-C and its like interrupt a command, which then ends its
// children first. A second one ends it at once.
func endBySignal(command string, interrupt context.CancelCauseFunc) (stop func()) {
	came := make(chan os.Signal, 1)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) { // nohup has it ignored
			signal.Notify(came, sig)
		}
	}
	// When who reads the output goes away, a write is to fail: by default SIGPIPE
	// would end the command and leave its children.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		select {
		case sig := <-came:
			signal.Stop(came)
			number, _ := sig.(syscall.Signal)
			interrupt(exitStatus{128 + int(number), fmt.Errorf("%s: %v", command, sig)})
		case <-done:
		}
	}()
	return func() { signal.Stop(came); close(done) }
}
