package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/engine/compress/prune"
	"mito/engine/pipeline"
	"mito/engine/tokenizer"
)

func newTrain() *cobra.Command {
	var f fitFlags
	var sparse prune.Training
	cmd := &cobra.Command{
		Use:     "train",
		Short:   "Train a model on a task or a text",
		Example: "  mito train --task tictactoe --out teacher\n  mito train --corpus book.txt --arch char --out book",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.check(cmd.Flags()); err != nil {
				return err
			}
			if err := checkSparse(cmd.Flags(), sparse); err != nil {
				return err
			}
			b, err := f.machine.open(cmd, f.output.quiet)
			if err != nil {
				return err
			}
			defer closing(b, &err)
			if err := f.ranks.join(cmd, b, f.output.quiet); err != nil {
				return err
			}
			defer f.ranks.leave(&err)
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
			if sparse.Sparsity != 0 {
				o.Sparse = &sparse
			}
			return f.run(cmd, b, w, o)
		},
	}
	f.register(cmd.Flags(), func(r pipeline.Recipe) string { return r.Teacher })
	f.work.registerTokenizer(cmd.Flags())
	cmd.Flags().Float64Var(&sparse.Sparsity, "sparse", 0, "share of the 4x8 blocks of every matrix inside the layers that are zero in the end, and are left out of the products on the way; 0 for none")
	cmd.Flags().StringVar(&sparse.Method, "sparse-method", prune.GMP, "gmp (the least blocks die in the first 0.3 of the steps) or rigl (few blocks from the first step on; in 0.6 of the steps some move to where the gradient is large)")
	return cmd
}

// checkSparse refuses what no sparse training can be.
func checkSparse(fs *pflag.FlagSet, o prune.Training) error {
	if !fs.Changed("sparse") {
		return without(fs, "a run without --sparse", "sparse-method")
	}
	if err := o.Validate(); err != nil {
		return usage(err)
	}
	return nil
}
