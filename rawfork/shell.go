package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"rawfork/internal/shell"
)

func shellCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shell",
		Short: "Drive forked processes by hand",
		Long: `shell forks children that do what is typed: system calls, loads and stores of
their memory, forks of their own. Type help for what there is. Lines come from
the terminal, with history and completion, or from a script on standard input:
then the first line that fails ends it, with exit status 1. Ctrl-C at the
terminal cuts off a call: the child gets SIGINT, and SIGKILL if it goes on.`,
		Example: `  rawfork shell
  printf 'fork\nchild 1 getppid\nps\n' | rawfork shell`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return runShell(cmd.Context()) },
	}
}

func runShell(ctx context.Context) error {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer endBySignal("shell", interrupt)()
	style := styleOf(os.Stdout)
	var err error
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
		err = shell.Interact(ctx, os.Stdin, os.Stdout, style)
	} else {
		err = shell.Script(ctx, os.Stdin, os.Stdout, style)
	}
	var status exitStatus
	if err != nil && !errors.As(err, &status) {
		err = fmt.Errorf("shell: %w", err)
	}
	return err
}
