package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func tourCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "tour [NAME]",
		Short: "Run the chapter on forking, live, step by step",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return errors.New("tour: not built yet")
		},
	}
}
