package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/engine/compress/quant"
	"mito/engine/pipeline"
	"mito/engine/report"
	"mito/engine/train"
)

// awareResult is what quantize prints beside a student that was trained.
type awareResult struct {
	Steps      int           `json:"steps"`
	Seed       uint64        `json:"seed"`
	LossBefore report.Number `json:"loss_before"` // of the float model
	LossAfter  report.Number `json:"loss_after"`
}

// checkAware refuses what a training cannot mean.
func (f *quantizeFlags) checkAware(fs *pflag.FlagSet) error {
	o, t := &f.aware, &f.aware.Train
	if err := f.work.check(fs); err != nil {
		return err
	}
	if o.Batch < 0 {
		return usagef("--batch is %d, want 1 or more", o.Batch)
	}
	if t.Optimizer == train.AdamW {
		if err := without(fs, "--optimizer adamw", "muon-lr"); err != nil {
			return err
		}
	}
	if o.Batch == 0 {
		o.Batch = pipeline.RecipeOf(f.work.kind()).Rows
	}
	if t.SaveEvery == 0 {
		t.SaveEvery = max(1, t.Steps/10)
	}
	if err := errors.Join(t.Validate(), o.Distill.Validate()); err != nil {
		return usage(err)
	}
	o.Dir, o.Out, o.Rules = f.model, f.out, f.rules
	return pipeline.CheckOutput(f.out, o.Resume)
}

// train makes the student by training.
func (f *quantizeFlags) train(cmd *cobra.Command) (err error) {
	start, err := pipeline.OpenStart(f.model)
	if err != nil {
		return fmt.Errorf("--model: %w", err)
	}
	if _, err := quant.BitsOf(start.Config, f.rules); err != nil {
		return usagef("--bits: %w", err)
	}
	b, err := f.machine.open(cmd, f.output.quiet)
	if err != nil {
		return err
	}
	defer closing(b, &err)
	if err := f.work.fitContext(cmd.Flags(), "--model", f.model, start.Config.Context); err != nil {
		return err
	}
	w, err := f.work.open(cmd, nil, start.Tokenizer)
	if err != nil {
		return err
	}
	made, before, err := pipeline.QuantizeAware(cmd.Context(), b, w, f.aware, once{newProgress(cmd, f.output.quiet)})
	if option := (*train.OptionError)(nil); errors.As(err, &option) { // one that depends on the data
		return usage(err)
	}
	if err != nil {
		return resumable(cmd.Context(), err, f.aware.Resume)
	}
	student, err := quant.Load(made.Dir)
	if err != nil {
		return err
	}
	f.result = &awareResult{
		Steps: made.Steps, Seed: f.aware.Train.Seed, LossBefore: report.Number(before.PerToken()), LossAfter: report.Number(made.Loss.PerToken()),
	}
	return f.print(cmd, made.Dir, student, made.Report)
}
