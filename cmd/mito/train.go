package main

import (
	"github.com/spf13/cobra"

	"mito/engine/pipeline"
	"mito/engine/tokenizer"
)

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
			start, err := f.start(cmd.Flags())
			if err != nil {
				return err
			}
			var tok tokenizer.Tokenizer
			if start != nil {
				tok = start.Tokenizer
			}
			w, err := f.work.open(cmd, nil, tok)
			if err != nil {
				return err
			}
			o, err := f.options(cmd.Flags(), "train", w, start)
			if err != nil {
				return err
			}
			return f.run(cmd, b, w, o)
		},
	}
	f.register(cmd.Flags(), func(r pipeline.Recipe) string { return r.Teacher })
	f.work.registerTokenizer(cmd.Flags())
	return cmd
}
