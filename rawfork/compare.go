package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"rawfork/compare"
	"rawfork/internal/text"
)

func compareCommand() *cobra.Command {
	var options compare.Options
	var list, asJSON bool
	var heap, dir string
	var documents []string
	cmd := &cobra.Command{
		Use:   "compare [EXPERIMENT...]",
		Short: "Measure every way to make a process, side by side",
		Long: `compare measures what it costs to make a process by each method, beside
syscall.ForkExec and plain C. All takes less than ten minutes, with --quick
less than one. Ctrl-C ends it and keeps what was measured.

The figures are medians with their confidence intervals; a run on a machine that
has other work says that it is noisy.`,
		Example: `  rawfork compare --quick              the answers in less than a minute
  rawfork compare heap -o report       one experiment, with charts
  rawfork compare --list               the experiments and the methods`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, e := range compare.Experiments() {
				names = append(names, e.Name+"\t"+e.Question)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
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
			return runCompare(cmd.Context(), options, dir, documents, asJSON)
		},
	}
	cmd.Flags().BoolVar(&options.Quick, "quick", false, "fewer points and turns")
	cmd.Flags().StringSliceVar(&options.Methods, "methods", nil, "only these `methods`, and the reference")
	cmd.Flags().StringVar(&heap, "heap", "", "the largest resident memory: a `size` such as 512MB")
	cmd.Flags().IntVar(&options.Turns, "turns", 0, "`N` turns of each method at each point")
	cmd.Flags().StringVarP(&dir, "output", "o", "", "also write the report to this `directory`")
	cmd.Flags().StringSliceVar(&documents, "fill", nil, "also fill the blocks in these Markdown `files`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the results in JSON")
	cmd.Flags().BoolVar(&list, "list", false, "list the experiments and the methods")
	return cmd
}

func listExperiments(w io.Writer, asJSON bool) error {
	if asJSON {
		type listed struct {
			Name string `json:"name"`
			Text string `json:"text"`
		}
		all := map[string][]listed{}
		for _, e := range compare.Experiments() {
			all["experiments"] = append(all["experiments"], listed{e.Name, e.Question})
		}
		for _, m := range compare.Methods() {
			all["methods"] = append(all["methods"], listed{m.Name, m.Text})
		}
		return writeJSON(w, all)
	}
	style := styleOf(os.Stdout)
	fmt.Fprintln(w, style.Bold("experiments"))
	for _, e := range compare.Experiments() {
		named(w, style, e.Name, e.Question)
	}
	fmt.Fprintln(w, style.Bold("methods"))
	for _, m := range compare.Methods() {
		named(w, style, m.Name, m.Text)
	}
	return nil
}

// named prints a name and what it is beside it.
func named(w io.Writer, style text.Style, name, what string) {
	const indent = "               "
	for i, line := range style.Wrap(what, indent) {
		if i == 0 {
			line = fmt.Sprintf("  %-*s%s", len(indent)-2, name, line[len(indent):])
		}
		fmt.Fprintln(w, line)
	}
}

// runCompare finds out where the report can be written before it measures.
func runCompare(ctx context.Context, options compare.Options, dir string, names []string, asJSON bool) error {
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
	return measure(ctx, options, asJSON, write)
}

// measure measures and reports, also what was measured until an error or a signal
// ended the run.
func measure(ctx context.Context, options compare.Options, asJSON bool, write func(*compare.Report) error) error {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer endBySignal("compare", interrupt)()
	bar := newBar()
	options.Progress = bar.show
	options.Semantics = len(options.Experiments) == 0
	report, err := compare.Run(ctx, options)
	bar.end()
	if report == nil {
		return err
	}
	report.Stopped = strings.TrimPrefix(report.Stopped, "compare: ") // the signal alone
	if asJSON {
		err = first(err, writeJSON(os.Stdout, report))
	} else {
		style := styleOf(os.Stdout)
		err = first(err, report.WriteText(os.Stdout, compare.TextOptions{Width: style.Width, Colour: style.Colour}))
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

// A bar shows on a terminal how far a run is and how long it will take.
type bar struct{ *progressbar.ProgressBar }

func newBar() *bar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return &bar{}
	}
	return &bar{progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(true))}
}

func (b *bar) show(p compare.Progress) {
	if b.ProgressBar == nil {
		return
	}
	b.Describe(fmt.Sprintf("%-22s", p.Doing))
	b.ChangeMax64(p.Total.Milliseconds() + 1) // one more: a bar that is full is removed
	b.Set64(p.Done.Milliseconds())
}

func (b *bar) end() {
	if b.ProgressBar != nil {
		b.Finish()
	}
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
