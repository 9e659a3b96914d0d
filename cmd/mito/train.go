package main

import "github.com/spf13/cobra"

func newTrain() *cobra.Command {
	var f fitFlags
	cmd := &cobra.Command{
		Use:     "train",
		Short:   "Train a model on a task or a text",
		Example: "  mito train --task tictactoe --out teacher\n  mito train --corpus book.txt --arch char --out book",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.check(cmd.Flags()); err != nil {
				return err
			}
			b, err := f.machine.open(cmd, f.output.quiet)
			if err != nil {
				return err
			}
			defer closing(b, &err)
			w, err := f.work.open(cmd, nil, nil)
			if err != nil {
				return err
			}
			o, err := f.options("train", w)
			if err != nil {
				return err
			}
			return f.run(cmd, b, w, o)
		},
	}
	f.register(cmd.Flags(), "mini")
	f.work.registerTokenizer(cmd.Flags())
	return cmd
}
