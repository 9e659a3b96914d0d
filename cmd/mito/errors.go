package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/engine/train"
)

// usageError marks a command line that cannot be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// usage marks err, if it is one, as wrong use. The name of an option of training becomes that of its flag.
func usage(err error) error {
	if err == nil {
		return nil
	}
	if option := (*train.OptionError)(nil); errors.As(err, &option) {
		name := optionFlag(option.Field)
		if name == strings.ReplaceAll(option.Field, " ", "-") {
			return usagef("--%s is %v, want %s", name, option.Got, option.Want)
		}
		return usagef("--%s: %w", name, err)
	}
	return &usageError{err}
}

// optionFlag is the flag of an option of training or distillation.
func optionFlag(field string) string {
	switch field {
	case "learning rate":
		return "lr"
	case "muon learning rate":
		return "muon-lr"
	case "clip norm":
		return "clip"
	case "label smoothing":
		return "smoothing"
	case "warm-up":
		return "warmup"
	}
	return strings.ReplaceAll(field, " ", "-")
}

// packages are the names that errors of mito's packages begin with. They help who reads the code; for who runs the
// program they are noise, and twice where one package passes on the error of another.
var packages = regexp.MustCompile(`(^|: |\n)(?:(?:attn|backend|bench|checkpoint|convert|cpu|cuda|cudaemu|cudrv|cudax|data|decode|dist|distill|files|gemm|grammar|isa|memlimit|` +
	`lora|model|parallel|peak|pipeline|prune|qat|qgemm|quant|report|runs|seam|search|sparse|student|task|tokenizer|train|trials|vec|verify): )+`)

// plain takes the names of packages out of a message.
func plain(message string) string { return packages.ReplaceAllString(message, "$1") }

// flagError says what is wrong with a flag, and which one may be meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		name := unknown.GetSpecifiedName()
		if !cmd.HasParent() {
			return usagef("unknown flag --%s for %q: a command comes first, then its flags: mito COMMAND --%[1]s", name, cmd.CommandPath())
		}
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
		return usagef("unknown flag --%s for %q%s", name, cmd.CommandPath(), meant("--"+name, known))
	case errors.As(err, &invalid):
		if want := values[invalid.GetFlag().Value.Type()]; want != "" {
			return usagef("--%s is %q, want %s", invalid.GetFlag().Name, invalid.GetValue(), want)
		}
	}
	return usage(err)
}

// values says what a flag of a type takes.
var values = map[string]string{
	"int": "a whole number", "uint64": "a whole number, 0 or more", "float64": "a number", "bool": "true or false",
	"duration": "a time such as 90s or 2m",
}

// findCommand refuses a command that there is not. It looks before cobra does, which would complain of the flags that the
// command was given.
func findCommand(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return nil
	}
	cmd := root
	for _, name := range args {
		if strings.HasPrefix(name, "-") || !cmd.HasSubCommands() {
			return nil
		}
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
		if i < 0 {
			var known []string
			for _, c := range cmd.Commands() {
				if c.IsAvailableCommand() {
					known = append(known, c.Name())
				}
			}
			return usagef("unknown command %q for %q%s", name, cmd.CommandPath(), meant(name, known))
		}
		cmd = cmd.Commands()[i]
	}
	return nil
}

// meant ends a message with the known words that are next to one, if any are near.
func meant(word string, known []string) string {
	near, least := []string(nil), 3 // two letters may be wrong
	for _, k := range known {
		d := distance(word, k)
		if strings.HasPrefix(k, word) {
			d = min(d, 1)
		}
		if d < least {
			near, least = nil, d
		}
		if d == least && d < 3 {
			near = append(near, k)
		}
	}
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// distance counts the letters that have to be put in, left out or exchanged to make b of a (Levenshtein, 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

// stoppedError is a run that a signal ended and that says what was saved.
type stoppedError struct {
	text string
	err  error // what ended it; may be nil
}

func (e *stoppedError) Error() string { return e.text }

func (e *stoppedError) Unwrap() error { return e.err }

// interrupted turns the error of a command that a signal ended into words; commands that save say themselves what they did.
func interrupted(ctx context.Context, err error) error {
	if saved := (*stoppedError)(nil); ctx.Err() == nil || !errors.Is(err, context.Canceled) || errors.As(err, &saved) {
		return err
	}
	return &stoppedError{text: "stopped by a signal before the end; nothing was saved"}
}

// resumable adds to the error of a run that was interrupted, on this rank or another, how to go on. more are arguments that the
// command line lacked.
func resumable(ctx context.Context, err error, resumed bool, more ...string) error {
	if ctx.Err() == nil && !errors.Is(err, train.ErrStopped) || !errors.Is(err, context.Canceled) {
		return err
	}
	if !resumed {
		more = append(more, "--resume")
	}
	what := strings.TrimSuffix(err.Error(), ": "+context.Canceled.Error())
	return &stoppedError{fmt.Sprintf("%s\nWhat was done is saved; this goes on from there:\n  %s", what, commandLine(more...)), err}
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

// awaited returns what f makes, or the error of ctx as soon as that is done: f is then left to itself. It is for work that
// reads and computes only, and cannot be told to stop.
func awaited[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
