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

func rulesCommand() *cobra.Command {
	var match string
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Check every rule of fork on this machine",
		Long: `rules checks what POSIX and Linux say of fork: each rule by processes that are
really forked, and what is observed is compared with the claim. What can't be
seen here is skipped, with the reason. The exit status is 1 when a rule does
not hold.`,
		Example: `  rawfork rules
  rawfork rules --run lock     those on locks, with what was observed
  rawfork rules --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			re, err := regexp.Compile(match)
			if err != nil {
				return usagef("rules: --run: %v", err)
			}
			if flags.write != "" && match != "" {
				return usagef("rules: --write takes all rules, without --run")
			}
			return runRules(cmd.Context(), rules.Rules(), re, match != "", flags)
		},
	}
	cmd.Flags().StringVar(&match, "run", "", "only the ids that match this `regexp`, in detail")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "the results in JSON")
	cmd.Flags().StringVar(&flags.write, "write", "", "write the document RULES.md to `file`")
	return cmd
}

// runRules checks those rules of the list whose ids match.
func runRules(ctx context.Context, list []rules.Rule, match *regexp.Regexp, detail bool, flags reportFlags) error {
	if len(list) == 0 {
		return fmt.Errorf("rules: fork: %w", errors.ErrUnsupported)
	}
	ctx, interrupt := context.WithCancelCause(ctx)
	defer endBySignal("rules", interrupt)()
	style := styleOf(os.Stdout)
	out := rulesPrinter{tourPrinter{w: os.Stdout, style: style, quiet: flags.quiet(), interrupt: interrupt},
		detail, progressOn(os.Stdout, style, flags.quiet())}
	report, err := rules.CheckAll(ctx, list, match, out.starting, out.found)
	out.progress.clear()
	if err := flags.deliver(ctx, "rules", report, err); err != nil {
		return err
	}
	if report.Count(rules.Broken) > 0 {
		out.print(out.style.Bad(report.Summary()))
		return exitStatus{code: statusFailed}
	}
	out.print(out.style.Good(report.Summary()))
	return nil
}

// rulesPrinter prints a line for each rule as it is checked, and on a terminal below
// them what is being checked.
type rulesPrinter struct {
	tourPrinter
	detail   bool
	progress progress
}

func (p rulesPrinter) starting(rule rules.Rule, i, n int) {
	p.progress.show(rule.ID+": "+rule.Claim, i, n)
}

func (p rulesPrinter) found(result rules.Result) {
	p.progress.clear()
	word, mark := "ok", p.style.Good
	switch result.Outcome {
	case rules.Broken:
		word, mark = "FAIL", p.style.Bad
	case rules.Skipped:
		word, mark = "skip", p.style.Bold
	}
	if !p.detail {
		p.print(p.beside(word, mark, result.ID+": "+result.Claim, nil)...)
	} else {
		p.print(p.beside(word, mark, result.ID+": "+result.Claim, p.style.Bold)...)
		p.print(p.style.Wrap("Source: "+result.Source, margin)...)
		for _, a := range result.Assertions {
			p.print(p.style.Wrap(a.Name+": "+a.Got, margin)...)
		}
	}
	switch result.Outcome {
	case rules.Broken:
		for _, failure := range result.Failures() {
			for _, line := range p.style.Wrap(failure, margin) {
				p.print(p.style.Bad(line))
			}
		}
	case rules.Skipped:
		p.print(p.style.Wrap("skipped: "+result.Reason, margin)...)
	}
}
