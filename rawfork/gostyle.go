package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// goStyle lets long flags be written with one dash, as Go's own commands have them:
// -run is --run. Only names of flags are changed, nothing behind "--", and nothing of
// exec's, behind whose own flags stand those of its program.
func goStyle(root *cobra.Command, args []string) []string {
	if len(args) > 0 && args[0] == "exec" {
		return args
	}
	known := map[string]bool{}
	for _, cmd := range append(root.Commands(), root) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = len(f.Name) > 1 })
	}
	changed := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(changed[i:], args[i:])
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && known[name] {
			arg = "-" + arg
		}
		changed[i] = arg
	}
	return changed
}
