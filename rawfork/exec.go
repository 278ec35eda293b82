package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func execCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "exec -- CMD [ARG...]",
		Short: "Run a program by fork and exec, and time it",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return errors.New("exec: not built yet")
		},
	}
}
