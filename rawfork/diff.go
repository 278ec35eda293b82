package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"rawfork/internal/inherit"
)

func diffCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff [WAY...]",
		Short: "Show what a new process has of its parent",
		Long: `diff makes a child in each way and compares its state in /proc with that of its
parent, rawfork itself: every field was kept, was reset, is new, or has gone.
The ways are child, the child of a bare fork, and the methods of exec, after
their exec. Without a WAY all stand side by side; with one or more, each has a
list of its own, with the values.

To have something to inherit, the parent has a blocked signal pending, another
ignored, a timer, file locks, and memory with advice on fork.

A name without brackets stands for all of its kind that no way has changed, and
"-" for what a way hasn't got: after an exec all mappings are new and count as
one field, as does what no way has changed. Left out is what changes by itself:
sizes of memory, and whether the process runs. In a pipe each field is one line,
however long.`,
		Example: `  rawfork diff
  rawfork diff child
  rawfork diff vfork spawn | grep -v kept
  rawfork diff --json`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, way := range inherit.Ways() {
				names = append(names, way.Name+"\t"+way.Title)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ways, err := findWays(args)
			if err != nil {
				return err
			}
			return runDiff(cmd.Context(), ways, len(args) > 0, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "every field and value in JSON")
	return cmd
}

// findWays returns the ways of that name, or all.
func findWays(names []string) ([]inherit.Way, error) {
	all := inherit.Ways()
	if len(names) == 0 {
		return all, nil
	}
	var ways []inherit.Way
	for _, name := range names {
		i := slices.IndexFunc(all, func(w inherit.Way) bool { return w.Name == name })
		if i < 0 {
			var known []string
			for _, way := range all {
				known = append(known, way.Name)
			}
			return nil, usagef("diff: no way %q; there are %s", name, strings.Join(known, ", "))
		}
		ways = append(ways, all[i])
	}
	return ways, nil
}

func runDiff(ctx context.Context, ways []inherit.Way, values, asJSON bool) error {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer endBySignal("diff", interrupt)()
	reports, err := inherit.Compare(ctx, ways)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("diff: %w", err)
	}
	if asJSON {
		return writeJSON(os.Stdout, reports)
	}
	style := styleOf(os.Stdout)
	if !term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("COLUMNS") == "" {
		style.Width = 0 // for grep: a field is a line
	}
	lines := inherit.Table(reports, style)
	if values {
		lines = nil
		for _, report := range reports {
			lines = append(lines, report.Lines(style)...)
		}
	}
	if _, err := fmt.Println(strings.Join(lines, "\n")); err != nil {
		return unwritten(err)
	}
	return nil
}
