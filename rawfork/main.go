// Command rawfork shows real fork(2) from Go: the chapter on forking live, a
// program run by fork and exec, and what goes wrong without care.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"rawfork/compare"
	"rawfork/rules"
)

func main() {
	compare.Init()
	rules.Init()

	root := rootCommand()
	root.AddCommand(
		tourCommand(),
		execCommand(),
		serveCommand(),
		diffCommand(),
		rulesCommand(),
		caveatsCommand(),
		compareCommand(),
		shellCommand(),
		versionCommand(),
	)
	os.Exit(execute(root))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "rawfork",
		Short: "Real fork(2) for Go, to watch and to try",
		Long: `rawfork shows real fork(2) from Go: one call that returns twice, in a child
that can't hang.`,
		Example: `  rawfork tour                  the chapter on forking, live, in 20 seconds
  rawfork tour zombie           one step of it
  rawfork exec -- ls -l         run a program by fork and exec, and time it
  rawfork exec -n 20 -- true    the same 20 times: min, median and max
  rawfork serve -l :7777        a server that forks for each client
  rawfork diff                  what a new process has of its parent`,
		Version: version(),
	}
	root.SetVersionTemplate("rawfork {{.Version}}\n")
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	return root
}
