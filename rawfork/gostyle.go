package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// goStyle lets long flags be written with one dash, as Go's own commands have them:
// -run is --run. Only names of flags are changed, nothing behind "--", and of exec
// nothing behind its program, whose own flags stand there.
func goStyle(root *cobra.Command, args []string) []string {
	known := map[string]*pflag.Flag{}
	for _, cmd := range append(root.Commands(), root) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if known[f.Name] = f; len(f.Name) == 1 {
				delete(known, f.Name)
			}
		})
	}
	changed := slices.Clone(args)
	exec := len(args) > 0 && args[0] == "exec"
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		arg := args[i]
		name, _, hasValue := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		switch flag := known[name]; {
		case !strings.HasPrefix(arg, "-"):
			if exec && i > 0 {
				return changed
			}
		case flag == nil:
			if exec && arg == "-n" {
				i++ // its value is no program
			}
		default:
			changed[i] = "-" + arg
			if !hasValue && flag.NoOptDefVal == "" {
				i++
			}
		}
	}
	return changed
}
