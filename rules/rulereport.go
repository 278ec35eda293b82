package rules

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// RuleReport is what one run of the rules found.
type RuleReport struct {
	Machine string   `json:"machine"`
	Results []Result `json:"rules"`
}

// CheckAll checks the rules of all whose ids match, one after the other: a child of one
// check would else hold what another's is to close. It tells starting of each rule
// with its place and their number, and found what came of it. When ctx ends, so does
// the run.
//
// [ErrNoMatch] says that no id matches.
func CheckAll(ctx context.Context, all []Rule, match *regexp.Regexp, starting func(rule Rule, i, n int), found func(Result)) (RuleReport, error) {
	report := RuleReport{Machine: machine()}
	var list []Rule
	for _, rule := range all {
		if match.MatchString(rule.ID) {
			list = append(list, rule)
		}
	}
	if len(list) == 0 {
		return report, fmt.Errorf("%w %q", ErrNoMatch, match)
	}
	for i, rule := range list {
		starting(rule, i, len(list))
		result := Check(ctx, rule)
		if err := ctx.Err(); err != nil {
			return report, err
		}
		report.Results = append(report.Results, result)
		found(result)
	}
	return report, nil
}

// Count is how many results have the outcome.
func (r RuleReport) Count(outcome Outcome) (n int) {
	for _, result := range r.Results {
		if result.Outcome == outcome {
			n++
		}
	}
	return n
}

// Summary puts the report into a line: how many hold, and how long they took.
func (r RuleReport) Summary() string {
	seconds, slowest := 0.0, Result{}
	for _, result := range r.Results {
		seconds += result.Seconds
		if result.Seconds >= slowest.Seconds {
			slowest = result
		}
	}
	line := fmt.Sprintf("%d of %d rules hold", r.Count(Holds), len(r.Results))
	if n := r.Count(Skipped); n > 0 {
		line += fmt.Sprintf(", %d skipped", n)
	}
	if n := r.Count(Broken); n > 0 {
		line += fmt.Sprintf(", %d BROKEN", n)
	}
	return line + fmt.Sprintf(" (%.1f s in all; the slowest, %s, %.2f s)", seconds, slowest.ID, slowest.Seconds)
}

// Markdown is the document RULES.md.
func (r RuleReport) Markdown() string {
	var b strings.Builder
	b.WriteString(`# Rules of fork

Each rule is checked by processes that are really forked: the child does what its
parent says (package probe), and what is observed is compared with the claim.
` + "`rawfork rules`" + ` checks them on your machine; examples/rule shows how to state one of
your own. This page is generated from the same table, by ` + "`go generate ./rules`" + `.
C1 to C18 are rows of the forking chapter, which ` + "`rawfork tour`" + ` runs.

`)
	if len(r.Results) > 0 {
		fmt.Fprintf(&b, "%s%s: %s\n", measured, r.Machine, r.Summary())
	}
	results := map[string]Result{}
	for _, result := range r.Results {
		results[result.ID] = result
	}
	heading := ""
	for _, rule := range Rules() {
		if rule.Group != heading {
			heading = rule.Group
			fmt.Fprintf(&b, "\n## %s\n", heading)
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\nSource: %s.", rule.ID, rule.Claim, rule.Source)
		if rule.Row != "" {
			fmt.Fprintf(&b, " Chapter: %s.", rule.Row)
		}
		b.WriteString("\n")
		if result, ok := results[rule.ID]; ok {
			fmt.Fprintf(&b, "\n%s%s\n", measured, result.seen())
		}
	}
	return b.String()
}

// seen puts what a check saw into a line, without what differs from run to run.
func (r Result) seen() string {
	switch r.Outcome {
	case Skipped:
		return "skipped, " + r.Reason + "."
	case Broken:
		return "BROKEN: " + strings.Join(r.Failures(), "; ") + "."
	}
	var names []string
	for _, a := range r.Assertions {
		names = append(names, a.Name)
	}
	return "holds. " + strings.Join(names, "; ") + "."
}
