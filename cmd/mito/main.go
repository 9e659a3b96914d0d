// Command mito trains a teacher, distils it into a small student, compresses the student to INT8 and proves that it
// computes the same bits everywhere. `mito pipeline` does all of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
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

// usage marks err, if it is one, as wrong use.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the program at once
		fmt.Fprintln(os.Stderr, "\nmito: stopping when the step under way is done; once more to stop at once")
	})
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
			return usagef("unknown %s %q; known: %s", what, args[0], strings.Join(known, ", "))
		}
		return usagef("%q takes one %s: %s", cmd.CommandPath(), what, strings.Join(known, ", "))
	}
}

// commandLine is how the program was called, with further arguments, fit for a shell.
func commandLine(more ...string) string {
	words := []string{"mito"}
	for _, a := range append(slices.Clone(os.Args[1:]), more...) {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// stopped adds to the error of an interrupted run how to go on. more are arguments that the command line lacked.
func stopped(ctx context.Context, err error, resumed bool, more ...string) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	if !resumed {
		more = append(more, "--resume")
	}
	what := strings.TrimSuffix(err.Error(), ": "+context.Canceled.Error())
	return fmt.Errorf("%s\nWhat was done is saved; this goes on from there:\n  %s", what, commandLine(more...))
}
