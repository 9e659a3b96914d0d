package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mito/engine/pipeline"
)

// runStem trains a base and its adapters.
func (f *loraFlags) runStem(cmd *cobra.Command) (err error) {
	stem, err := pipeline.StemOf(f.preset)
	if err != nil {
		return usage(err)
	}
	if f.out == "" {
		return usagef("--out is missing: the folder of the base and its adapters")
	}
	if err := without(cmd.Flags(), "--preset", append(ofTraining(), "model", "task", "corpus", "lines", "examples", "positions", "depth", "format", "task-seed",
		"context", "held-out", "adapter")...); err != nil {
		return err
	}
	b, err := f.machine.open(cmd, f.output.quiet)
	if err != nil {
		return err
	}
	defer closing(b, &err)
	o := pipeline.StemOptions{Stem: stem, Out: f.out, Seed: f.train.Seed, Threads: f.machine.threads, Resume: f.resume}
	r, err := pipeline.RunStem(cmd.Context(), b, o, newProgress(cmd, f.output.quiet))
	if err != nil {
		return resumable(cmd.Context(), err, f.resume)
	}
	return f.output.print(cmd, r, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "%s: one base of %d parameters, %d in each adapter; switching takes %.2f µs\n", r.Dir, r.Params, r.TrainedParams, r.SwitchMicros)
		for _, a := range r.Adapters {
			fmt.Fprintf(stdout, "  %-10s loss %.4f nats with the base, %.4f with its adapter\n", a.Name, a.LossBefore, a.LossAfter)
		}
	})
}
