package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"rawfork/rules"
)

func caveatsCommand() *cobra.Command {
	var options rules.RunOptions
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "caveats",
		Short: "Show what goes wrong without care, and that Fork doesn't hang",
		Long: `caveats shows each caveat of fork in Go: how often it goes wrong without care,
and how often the library's way does. Then the hang matrix: children of every
kind under every load of the parent, and beside them those of a plain fork
through cgo, which hang. The exit status is 1 when the library's way goes wrong.`,
		Example: `  rawfork caveats
  rawfork caveats --run guard            what the stack guard doesn't see
  rawfork caveats --run matrix -n 500    the matrix alone, with 20,000 forks`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := regexp.Compile(options.Match); err != nil {
				return usagef("caveats: --run: %v", err)
			}
			if options.Tries < 1 || options.Tries > 100_000 {
				return usagef("caveats: -n %d: must be 1 to 100000", options.Tries)
			}
			if flags.write != "" && options.Match != "" {
				return usagef("caveats: --write takes all caveats, without --run")
			}
			return runCaveats(cmd.Context(), options, flags)
		},
	}
	cmd.Flags().StringVar(&options.Match, "run", "", "only the ids that match this `regexp`; one is matrix")
	cmd.Flags().IntVarP(&options.Tries, "tries", "n", 50, "try each `N` times; the matrix forks 40 N times")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "the results in JSON")
	cmd.Flags().StringVar(&flags.write, "write", "", "write the document CAVEATS.md to `file`")
	return cmd
}

func runCaveats(ctx context.Context, options rules.RunOptions, flags reportFlags) error {
	if len(rules.Caveats()) == 0 {
		return fmt.Errorf("caveats: fork: %w", errors.ErrUnsupported)
	}
	ctx, interrupt := context.WithCancelCause(ctx)
	defer endBySignal("caveats", interrupt)()
	style := styleOf(os.Stdout)
	out := &caveatsPrinter{tourPrinter{w: os.Stdout, style: style, quiet: flags.quiet(), interrupt: interrupt},
		progressOn(os.Stdout, style, flags.quiet()), nil}
	options.Starting, options.Building = out.progress.show, out.building
	report, err := rules.Run(ctx, options, out.showing, out.cell)
	out.progress.clear()
	if err := flags.deliver(ctx, "caveats", report, err); err != nil {
		return err
	}
	out.summary(report)
	if len(report.Failures()) > 0 {
		return exitStatus{code: statusFailed}
	}
	return nil
}

// caveatsPrinter prints what was found as plain lines, as it is found.
type caveatsPrinter struct {
	tourPrinter
	progress progress
	row      []rules.Cell // the cells of the matrix's row that is under way
}

// building says why nothing is to be seen for a time.
func (p *caveatsPrinter) building(c rules.Caveat, i, n int) {
	line := fmt.Sprintf("%s: building %s", c.ID, c.Building())
	if p.progress.w != nil {
		p.progress.show(line, i, n)
	} else {
		p.print(line)
	}
}

func (p *caveatsPrinter) showing(s rules.Showing) {
	p.progress.clear()
	p.print(p.style.Bold(s.ID))
	p.print(p.style.Wrap(s.Claim+" "+s.Why, "  ")...)
	p.print(p.style.Wrap(fmt.Sprintf("%s: without care, parent %s: %s", s.Verdict(), s.Load, rules.Counts(s.Bad, s.Tries)), "    ")...)
	if s.Good != nil {
		mark := p.style.Good
		if s.Failed() {
			mark = p.style.Bad
		}
		for _, line := range p.style.Wrap(fmt.Sprintf("%s: %s", s.Instead, rules.Counts(s.Good, s.Tries)), "    ") {
			p.print(mark(line))
		}
	}
	p.print("")
}

// cell collects a row of the matrix, all cells with one load and GOMAXPROCS, and
// prints it when the next one begins.
func (p *caveatsPrinter) cell(c rules.Cell) {
	if len(p.row) > 0 && (c.Load != p.row[0].Load || c.Procs != p.row[0].Procs) {
		p.endRow()
	}
	p.row = append(p.row, c)
}

func (p *caveatsPrinter) endRow() {
	if len(p.row) == 0 {
		return
	}
	p.progress.clear()
	library := rules.Sum(p.row, func(c rules.Cell) bool { return !c.Control })
	control := rules.Sum(p.row, func(c rules.Cell) bool { return c.Control })
	p.print(p.style.Hang(fmt.Sprintf("matrix: parent %-6s GOMAXPROCS %d: Fork %d of %d hung, plain fork %d of %d",
		p.row[0].Load, p.row[0].Procs, library.Hung, library.Forks, control.Hung, control.Forks), "")...)
	p.row = nil
}

func (p *caveatsPrinter) summary(report rules.Report) {
	p.endRow()
	if len(report.Showings) > 0 {
		p.print(p.style.Wrap(report.Summary()+".", "")...)
	}
	if len(report.Cells) > 0 {
		library := rules.Sum(report.Cells, func(c rules.Cell) bool { return !c.Control })
		control := rules.Sum(report.Cells, func(c rules.Cell) bool { return c.Control })
		quiet := 0
		for _, c := range report.Cells {
			if c.Control && c.Hung == 0 {
				quiet++
			}
		}
		p.print(p.style.Wrap(fmt.Sprintf("In all: of Fork's children %d of %d hung and %d ended wrongly; of a plain fork's %d of %d hung. In %d fields of the matrix no child of the plain fork hung.",
			library.Hung, library.Forks, library.Wrong, control.Hung, control.Forks, quiet), "")...)
	}
	for _, failure := range report.Failures() {
		p.print(p.style.Bad("FAIL ") + failure)
	}
}
