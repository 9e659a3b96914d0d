package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mito/engine/task"
)

func newTask() *cobra.Command {
	cmd := &cobra.Command{Use: "task", Short: "List and describe the tasks", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newTaskList(), newTaskDescribe(), newTaskExamples())
	return cmd
}

type taskLine struct {
	Name      string   `json:"name"`
	Opponents []string `json:"opponents"`
}

func newTaskList() *cobra.Command {
	var output outputFlags
	cmd := &cobra.Command{
		Use: "list", Short: "The tasks and whom they are played against", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []taskLine
			for _, name := range task.Names() {
				t, err := task.Lookup(name)
				if err != nil {
					return err
				}
				list = append(list, taskLine{name, t.Opponents()})
			}
			return output.print(cmd, map[string]any{"tasks": list}, func(w io.Writer) {
				for _, l := range list {
					fmt.Fprintf(w, "%-12s %s\n", l.Name, strings.Join(l.Opponents, ", "))
				}
			})
		},
	}
	output.register(cmd.Flags())
	return cmd
}

func newTaskDescribe() *cobra.Command {
	var output outputFlags
	cmd := &cobra.Command{
		Use: "describe NAME", Short: "The exact prompt and answer format, for a program that wants to play", Args: oneOf("task", task.Names()...),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := task.Lookup(args[0])
			if err != nil {
				return err
			}
			return output.print(cmd, map[string]string{"name": t.Name(), "description": t.Describe(), "alphabet": t.Alphabet()}, func(w io.Writer) {
				fmt.Fprintln(w, strings.TrimRight(t.Describe(), "\n"))
			})
		},
	}
	output.register(cmd.Flags())
	return cmd
}

func newTaskExamples() *cobra.Command {
	var (
		work  workFlags
		split string
	)
	cmd := &cobra.Command{
		Use: "examples NAME", Short: "Every labelled position as a line: the prompt, a tab, the right answers", Args: oneOf("task", task.Names()...),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := task.New(args[0], work.taskOptions(cmd.Flags(), nil))
			if err != nil {
				return usage(err)
			}
			examples, err := t.Examples(cmd.Context(), task.Split(split))
			if unknown := (*task.SplitError)(nil); errors.As(err, &unknown) {
				return usage(err)
			}
			if err != nil {
				return err
			}
			between := " "
			if task.Ends(t) { // answers of several words, in the form of --examples
				between = "\t"
			}
			for _, e := range examples {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", e.Prompt, strings.Join(e.Answers, between)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&split, "split", string(task.All), "train, test or all")
	work.registerTask(fs)
	return cmd
}
