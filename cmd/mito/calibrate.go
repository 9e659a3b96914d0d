package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/engine/compress/calibrate"
	"mito/engine/compress/quant"
	"mito/engine/pipeline"
	"mito/engine/tokenizer"
)

// selfRows are the sequences that a model writes for its calibration where no number is given.
const selfRows = 64

// checkCalibration reads --calibrate and --bytes, and refuses what needs a calibration where there is none.
func (f *quantizeFlags) checkCalibration(fs *pflag.FlagSet) (err error) {
	text, self := strings.CutPrefix(f.calibrate, "self")
	f.self = self
	switch {
	case self && text == "":
		f.rows = selfRows
	case self:
		f.rows, err = strconv.Atoi(strings.TrimPrefix(text, ":"))
	default:
		f.rows, err = strconv.Atoi(text)
	}
	if err != nil || f.rows < 0 || self && f.rows == 0 {
		return usagef("--calibrate is %s, want 1 or more sequences, self or self:NUMBER, or 0 for none", f.calibrate)
	}
	if f.bytes != "" {
		if f.budget, err = parseBytes("--bytes", f.bytes); err != nil {
			return err
		}
		if err := without(fs, "--bytes", "bits"); err != nil {
			return err
		}
	}
	if f.method != string(quant.Sigma) {
		if err := without(fs, "--method "+f.method, "sigma"); err != nil {
			return err
		}
	}
	for _, need := range []struct {
		flag string
		used bool
	}{{"--method gptq", f.method == string(quant.GPTQ)}, {"--smooth", f.smooth != 0}, {"--bytes", f.budget != 0}} {
		if need.used && f.rows == 0 && f.aware.Train.Steps == 0 {
			return usagef("%s needs --calibrate: a number of sequences of --corpus or --task, or self", need.flag)
		}
	}
	switch {
	case !(f.sigma > 0 && f.sigma <= 100):
		return usagef("--sigma is %v, want more than 0 and at most 100 standard deviations", f.sigma)
	case !(f.smooth >= 0 && f.smooth < 1):
		return usagef("--smooth is %v, want 0 or more and less than 1", f.smooth)
	}
	return nil
}

// calibration runs the float model of a folder over training sequences of the workload, or over text of its own.
func (f *quantizeFlags) calibration(cmd *cobra.Command) (o quant.Options, err error) {
	if err := f.machine.check(); err != nil {
		return o, err
	}
	gather := calibrate.Options{Threads: f.machine.threads, Hessians: f.method == string(quant.GPTQ)}
	if !f.self {
		if err := f.work.check(cmd.Flags()); err != nil {
			return o, err
		}
	}
	_, floats, err := pipeline.OpenFloat(f.model)
	if err != nil {
		return o, err
	}
	if f.self {
		if most := pipeline.MaxCalibration(floats.Config.Context); f.rows > most {
			return o, usagef("--calibrate is %s, want 1 to %d sequences", f.calibrate, most)
		}
		o, f.sequences, err = pipeline.CalibrateSelf(cmd.Context(), floats, f.rows, f.work.taskSeed, gather)
		return o, err
	}
	tok, err := tokenizer.Load(f.model)
	if err != nil {
		return o, err
	}
	if err := f.work.fitContext(cmd.Flags(), "--model", f.model, floats.Config.Context); err != nil {
		return o, err
	}
	w, err := f.work.open(cmd, nil, tok)
	if err != nil {
		return o, err
	}
	if most := pipeline.MaxCalibration(w.Context); f.rows > most {
		return o, usagef("--calibrate is %d, want 1 to %d sequences of %d tokens, of which a few hundred do", f.rows, most, w.Context)
	}
	o, f.sequences, err = pipeline.Calibrate(cmd.Context(), floats, w, f.rows, f.work.taskSeed, gather)
	return o, err
}

// choose gives the matrices the bits with which they fit in --bytes.
func (f *quantizeFlags) choose(cmd *cobra.Command, o quant.Options) ([]quant.Rule, error) {
	_, floats, err := pipeline.OpenFloat(f.model)
	if err != nil {
		return nil, err
	}
	choices, fixed, err := calibrate.Sensitivity(cmd.Context(), floats, f.sequences, o, f.machine.threads)
	if err != nil {
		return nil, err
	}
	rules, err := quant.Choose(choices, fixed, f.budget)
	if errors.Is(err, quant.ErrBudget) {
		return nil, usagef("--bytes %s: %w", f.bytes, err)
	}
	f.choices = choices
	return rules, err
}
