// Command mito trains a teacher, distils it into a small student, compresses the student to INT8 and proves that it
// computes the same bits everywhere. `mito pipeline` does all of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitFailure = 1
	exitUsage   = 2
)

// usageError marks a command line that cannot be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "mito:", err)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(os.Stderr, "Run 'mito help' for the commands, or 'mito COMMAND --help' for the flags of one.")
		return exitUsage
	}
	return exitFailure
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "mito",
		Short: "Train a teacher, distil and compress a student under a million parameters, prove its bits",
		Long: `mito trains a transformer on a workstation, distils it into a student of under a million parameters,
compresses the student to INT8, and proves that the student computes the same bits on every machine.

Start with: mito pipeline`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newPipeline(), newTrain(), newDistill(), newQuantize(), newEval(), newGenerate(), newVerify(),
		newBench(), newTask(), newInfo(),
	)
	return root
}

// noArgs refuses positional arguments as wrong use.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown argument %q for %q", args[0], cmd.CommandPath())
	}
	return nil
}

// oneOf takes exactly one argument out of a list.
func oneOf(what string, known ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			for _, k := range known {
				if args[0] == k {
					return nil
				}
			}
			return usagef("unknown %s %q; known: %v", what, args[0], known)
		}
		return usagef("%q takes one %s out of %v", cmd.CommandPath(), what, known)
	}
}
