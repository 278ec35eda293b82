package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"rawfork/compare"
	"rawfork/internal/text"
)

func compareCommand() *cobra.Command {
	var options compare.Options
	var list, asJSON, all bool
	var heap, dir string
	var documents []string
	cmd := &cobra.Command{
		Use:   "compare [EXPERIMENT...]",
		Short: "Measure every way to make a process, side by side",
		Long: `compare measures what it costs to make a process by each method, beside
syscall.ForkExec and plain C. All takes less than ten minutes, with --quick
less than one. Ctrl-C ends it and keeps what was measured. Of each experiment
the table of its first measure is shown, with --all those of the others too:
page faults, context switches, how long the caller is stopped. The experiment
"semantics" measures nothing: it says what the processes have that the methods
make.

The figures are medians with their confidence intervals; a run on a machine that
has other work says that it is noisy.`,
		Example: `  rawfork compare --quick              the answers in less than a minute
  rawfork compare heap -o report       one experiment, with charts
  rawfork compare fork --all --json    each turn of each measure, for programs
  rawfork compare semantics            what the new processes have
  rawfork compare --list               experiments, methods, measures`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return completions(experimentsListed()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			options.Experiments = args
			var err error
			if options.Heap, err = parseSize(heap); err != nil {
				return usagef("compare: --heap: %v", err)
			}
			if err := options.Check(); err != nil {
				return usagef("compare: %v", err)
			}
			if list {
				return listExperiments(os.Stdout, asJSON)
			}
			return runCompare(cmd.Context(), options, dir, documents, shown{asJSON, all})
		},
	}
	cmd.Flags().BoolVar(&options.Quick, "quick", false, "fewer points and turns")
	cmd.Flags().StringSliceVar(&options.Methods, "methods", nil, "only these `methods`, and the reference")
	cmd.RegisterFlagCompletionFunc("methods", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return completions(methodsListed()), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.Flags().StringVar(&heap, "heap", "", "the largest resident memory: a `size` such as 512MB")
	cmd.Flags().IntVar(&options.Turns, "turns", 0, "`N` turns of each method at each point")
	cmd.Flags().StringVarP(&dir, "output", "o", "", "also write the report to this `directory`")
	cmd.Flags().StringSliceVar(&documents, "fill", nil, "also fill the blocks in these Markdown `files`")
	cmd.Flags().BoolVar(&all, "all", false, "a table of each measure")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the results in JSON, always of each measure")
	cmd.Flags().BoolVar(&list, "list", false, "list the experiments, the methods and the measures")
	return cmd
}

// listed is a name and what it is.
type listed struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func experimentsListed() (all []listed) {
	for _, e := range compare.Experiments() {
		all = append(all, listed{e.Name, e.Question})
	}
	return append(all, listed{compare.SemanticsName, compare.SemanticsQuestion})
}

func methodsListed() (all []listed) {
	for _, m := range compare.Methods() {
		all = append(all, listed{m.Name, m.Text})
	}
	return all
}

func measuresListed() (all []listed) {
	for _, m := range compare.Measures() {
		all = append(all, listed{m.Name, m.Text})
	}
	return all
}

func completions(all []listed) (lines []string) {
	for _, l := range all {
		lines = append(lines, l.Name+"\t"+l.Text)
	}
	return lines
}

func listExperiments(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string][]listed{"experiments": experimentsListed(), "methods": methodsListed(), "measures": measuresListed()})
	}
	style := styleOf(os.Stdout)
	for _, group := range []struct {
		name string
		all  []listed
	}{{"experiments", experimentsListed()}, {"methods", methodsListed()}, {"measures", measuresListed()}} {
		fmt.Fprintln(w, style.Bold(group.name))
		for _, l := range group.all {
			named(w, style, l.Name, l.Text)
		}
	}
	return nil
}

// named prints a name and what it is beside it.
func named(w io.Writer, style text.Style, name, what string) {
	const indent = "                  "
	for i, line := range style.Wrap(what, indent) {
		if i == 0 {
			line = fmt.Sprintf("  %-*s%s", len(indent)-2, name, line[len(indent):])
		}
		fmt.Fprintln(w, line)
	}
}

// shown says how a report is shown on standard output.
type shown struct {
	asJSON bool
	all    bool // a table of each measure
}

// runCompare finds out where the report can be written before it measures.
func runCompare(ctx context.Context, options compare.Options, dir string, names []string, how shown) error {
	documents, err := compare.OpenDocuments(names)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	write := documents.Write
	if dir != "" {
		output, err := compare.OpenOutput(dir)
		if err != nil {
			return fmt.Errorf("compare: %w", err)
		}
		defer output.Close()
		write = func(r *compare.Report) error { return first(output.Write(r), documents.Write(r)) }
	}
	return measure(ctx, options, how, write)
}

// measure measures and reports, also what was measured until an error or a signal
// ended the run.
func measure(ctx context.Context, options compare.Options, how shown, write func(*compare.Report) error) error {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer endBySignal("compare", interrupt)()
	bar := newBar(os.Stderr, styleOf(os.Stderr))
	options.Progress = bar.show
	options.Notice = func(notice string) { fmt.Fprintf(os.Stderr, "rawfork: compare: note: %s\n", notice) }
	report, err := compare.Run(ctx, options)
	bar.end()
	if report == nil {
		return err
	}
	report.Stopped = strings.TrimPrefix(report.Stopped, "compare: ") // the signal alone
	if how.asJSON {
		err = first(err, writeJSON(os.Stdout, report))
	} else {
		style := styleOf(os.Stdout)
		err = first(err, report.WriteText(os.Stdout, compare.TextOptions{Width: style.Width, Colour: style.Colour, All: how.all}))
	}
	return first(err, write(report), context.Cause(ctx))
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// parseSize reads a size such as 512MB or 4g, in bytes; an empty one is 0.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number := strings.TrimRight(strings.ToLower(text), "kmgtb")
	shift, ok := map[string]uint{"": 0, "b": 0, "k": 10, "kb": 10, "m": 20, "mb": 20, "g": 30, "gb": 30, "t": 40, "tb": 40}[strings.ToLower(text)[len(number):]]
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !ok || n < 1 || n > 1<<62>>shift {
		return 0, fmt.Errorf("no size: %q; one is such as 512MB or 4GB", text)
	}
	return n << shift, nil
}
