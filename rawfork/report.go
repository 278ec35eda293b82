package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"rawfork/rules"
)

// reportFlags say where the report of a run goes, beside the lines on the terminal.
type reportFlags struct {
	asJSON bool
	write  string // a file for the document; "" for none
}

// quiet tells whether nothing but the report is to be seen.
func (f reportFlags) quiet() bool { return f.asJSON || f.write != "" }

// deliver puts the report of the named command where it is to go. The err is that of
// the run, which ctx may have ended.
func (f reportFlags) deliver(ctx context.Context, name string, report interface{ Markdown() string }, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, rules.ErrNoMatch) {
		return usagef("%s: %v; rawfork %s lists all", name, err, name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if f.asJSON {
		if err := writeJSON(os.Stdout, report); err != nil {
			return err
		}
	}
	if f.write != "" {
		if err := os.WriteFile(f.write, []byte(report.Markdown()), 0o644); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
