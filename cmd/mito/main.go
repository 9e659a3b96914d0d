// Command mito trains a teacher, distils it into a small student, compresses the student to INT8 and proves that it
// computes the same bits everywhere. `mito pipeline` does all of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the program at once
		fmt.Fprintln(os.Stderr, "\nmito: stopping when the step under way is done; once more to stop at once")
	})
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// streams are what a process has.
type streams struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// run is the program: it runs a command line and returns the exit status.
func run(ctx context.Context, args []string, s streams) int {
	out := &results{w: s.stdout}
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(s.stderr)
	root.SetIn(s.stdin)
	err := findCommand(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		err = out.close()
	} else {
		err = lost(interrupted(ctx, err), out.err)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(s.stderr, "mito:", plain(err.Error()))
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(s.stderr, "Run 'mito help' for the commands, or 'mito COMMAND --help' for the flags of one.")
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
		Version:       programVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(versionLine() + "\n")
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(newHelp())
	root.AddCommand(
		newPipeline(), newTrain(), newDistill(), newPrune(), newSearch(), newWorker(), newConvert(), newQuantize(), newLora(), newEval(), newGenerate(), newVerify(),
		newBench(), newTask(), newInfo(), newVersion(),
		newExport(), newImport(), newLogits(), newTokens(),
	)
	eachCommand(root, func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		cmd.InitDefaultVersionFlag()
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "bool" {
				f.Value = plainBool{f.Value}
			}
		})
	})
	return root
}

// plainBool is a bool flag that the help shows as --name, as people write it, and not as --name[=true|false].
type plainBool struct{ pflag.Value }

// eachCommand visits a command and all below it.
func eachCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		eachCommand(c, visit)
	}
}

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := findCommand(cmd.Root(), args); err != nil {
				return err
			}
			about, _, err := cmd.Root().Find(args)
			if err != nil {
				return usage(err)
			}
			return about.Help()
		},
	}
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
			if slices.Contains(known, args[0]) {
				return nil
			}
			return usagef("unknown %s %q; known: %s", what, args[0], strings.Join(known, ", "))
		}
		return usagef("%q takes one %s: %s", cmd.CommandPath(), what, strings.Join(known, ", "))
	}
}
