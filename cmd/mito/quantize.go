package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/engine/compress/quant"
	"mito/engine/pipeline"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// quantizeFlags are those of the command.
type quantizeFlags struct {
	output     outputFlags
	machine    machineFlags
	work       workFlags
	model, out string
	method     string
	bits       string
	calibrate  int
	aware      pipeline.AwareOptions // Train.Steps 0 for none

	rules  []quant.Rule
	result *awareResult // of a training, or nil
}

// awareFlags are the flags that mean something with --qat only.
var awareFlags = []string{"backend", "precision", "batch", "micro-batches", "optimizer", "lr", "muon-lr", "ema", "temperature", "alpha", "seed", "save-every", "resume"}

func newQuantize() *cobra.Command {
	var f quantizeFlags
	cmd := &cobra.Command{
		Use:   "quantize",
		Short: "Make the INT8 student of a trained model",
		Long: `Make the INT8 student of a trained float model: by rounding its weights, or with --qat by training too, for so many steps whose
passes compute what the student computes, on what the float model says. --bits gives weights fewer bits by module; the student computes
with INT8 weights all the same, and its file shrinks. Without --qat, --out is the folder of the student, with it that of a run whose
model the student is.`,
		Example: "  mito quantize --model student --out student-int8\n  mito quantize --model student --out student-int8 --calibrate 256 --corpus book.txt\n" +
			"  mito quantize --model student --out student-4 --bits 4,embed=8 --qat 200 --corpus book.txt",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd.Flags()); err != nil {
				return err
			}
			if f.aware.Train.Steps > 0 {
				return f.train(cmd)
			}
			return f.round(cmd)
		},
	}
	fs := cmd.Flags()
	f.output.register(fs)
	f.work.register(fs)
	f.machine.register(fs)
	fs.IntVar(&f.calibrate, "calibrate", 0, "training sequences that weigh the errors of the weights; 0 for none")
	fs.StringVar(&f.model, "model", "", "folder of the trained model (required)")
	fs.StringVar(&f.out, "out", "", "folder for the INT8 student (required)")
	fs.StringVar(&f.bits, "bits", "", bitsUsage)
	fs.StringVar(&f.method, "method", string(quant.Methods()[0]), "how the scale of a row is found: search or rtn (round to nearest)")
	f.registerAware(fs)
	return cmd
}

const bitsUsage = "bits of the weights by module, such as mlp.*=4,attn.*=8,embed=8, or one for all: 8, 7, 6, 5, 4, 3 or ternary; 8 where no pattern says another"

func (f *quantizeFlags) registerAware(fs *pflag.FlagSet) {
	r, o := pipeline.RecipeOf(""), &f.aware
	o.Train, o.Distill = r.Train, r.Distill
	t := &o.Train
	t.Decay = 1 // from the first step on: it begins where a training has ended
	fs.IntVar(&t.Steps, "qat", 0, "steps of training with the student's arithmetic, on what the float model says; 0 for none")
	fs.IntVar(&o.Batch, "batch", 0, "sequences of a batch; the workload's usual number where it is left out")
	fs.IntVar(&t.MicroBatches, "micro-batches", t.MicroBatches, "parts that a batch is computed in; less memory, the same weights")
	fs.Uint64Var(&t.Seed, "seed", t.Seed, "seed of the batches")
	fs.StringVar(&t.Optimizer, "optimizer", t.Optimizer, "muon (matrices by Muon, tables and vectors by AdamW) or adamw (all)")
	fs.Float64Var(&t.LR, "lr", 0.001, "learning rate of AdamW at the first step, falling to 0; with muon that of the tables, vectors and scales")
	fs.Float64Var(&t.MuonLR, "muon-lr", 0.004, "muon: learning rate of the matrices at the first step, falling to 0")
	fs.Float64Var(&t.EMA, "ema", t.EMA, "decay of the moving average of the weights, which is what ships; 0 for none")
	fs.Float64Var(&o.Distill.Temperature, "temperature", o.Distill.Temperature, "temperature of the teacher's and the student's probabilities")
	fs.Float64Var(&o.Distill.Alpha, "alpha", o.Distill.Alpha, "weight of the labels; the rest is the teacher's")
	fs.IntVar(&t.SaveEvery, "save-every", 0, "steps between checkpoints; 0 for a tenth of the run")
	fs.BoolVar(&o.Resume, "resume", false, "continue the run in --out, or begin it where there is none")
}

// check refuses what cannot be meant.
func (f *quantizeFlags) check(fs *pflag.FlagSet) (err error) {
	if f.model == "" || f.out == "" {
		return usagef("--model and --out are needed: a trained model and a folder for its INT8 student")
	}
	if !slices.Contains(quant.Methods(), quant.Method(f.method)) {
		return usagef("--method is %q, want one of %s", f.method, quant.Methods())
	}
	if f.rules, err = parseBits(f.bits); err != nil {
		return err
	}
	t := &f.aware.Train
	if t.Steps < 0 {
		return usagef("--qat is %d, want 0 or more steps", t.Steps)
	}
	if f.model, err = modelFolder("--model", f.model); err != nil {
		return err
	}
	if t.Steps == 0 {
		if err := without(fs, "a run without --qat", awareFlags...); err != nil {
			return err
		}
		if f.calibrate == 0 && f.work.kind() != "" {
			return usagef("--task and --corpus give the sequences of --calibrate and --qat, which are missing")
		}
		return runs.CheckFree(f.out) // before a calibration, which takes its time
	}
	if err := without(fs, "--qat", "calibrate", "method"); err != nil {
		return err
	}
	return f.checkAware(fs)
}

// parseBits reads --bits.
func parseBits(text string) ([]quant.Rule, error) {
	if text == "" {
		return nil, nil
	}
	rules, err := quant.ParseRules(text)
	if err != nil {
		return nil, usagef("--bits: %w", err)
	}
	return rules, nil
}

// round makes the student by rounding.
func (f *quantizeFlags) round(cmd *cobra.Command) (err error) {
	o := quant.Options{}
	if f.calibrate != 0 {
		if o, err = f.calibration(cmd); err != nil {
			return err
		}
	}
	o.Method, o.Bits = quant.Method(f.method), f.rules
	w, r, err := pipeline.Quantize(cmd.Context(), f.model, f.out, o)
	if errors.Is(err, quant.ErrPattern) {
		return usagef("--bits: %w", err)
	}
	if err != nil {
		return err
	}
	return f.print(cmd, f.out, w, r)
}

// quantizeResult is what the command prints.
type quantizeResult struct {
	Dir      string              `json:"dir"`
	Params   int                 `json:"params"`
	Bytes    int                 `json:"bytes"`
	Scheme   string              `json:"scheme"`
	Digest   string              `json:"digest"`
	Matrices []quant.MatrixError `json:"matrices"`
	Sparsity float64             `json:"sparsity,omitempty"` // of the matrices inside the layers
	Stored   int                 `json:"stored_bytes"`       // on disk, in codes and blocks where matrices are stored so
	*awareResult
}

// print prints a student and what became of its matrices.
func (f *quantizeFlags) print(cmd *cobra.Command, dir string, w *student.Weights, r *quant.Report) error {
	m, err := student.New(w.ForDigest(), student.Options{})
	if err != nil {
		return err
	}
	digest, err := student.Digest(m, student.DigestOptions{Check: cmd.Context().Err})
	if errors.Is(err, context.Canceled) {
		return &stoppedError{fmt.Sprintf("stopped by a signal; %s is complete, mito verify --model %[1]s gives its digest", dir)}
	}
	if err != nil {
		return err
	}
	result := quantizeResult{
		Dir: dir, Params: w.Params(), Bytes: w.Bytes(), Scheme: "int8", Digest: digest, Matrices: r.Matrices, Stored: quant.StoredBytes(w, r),
		awareResult: f.result,
	}
	if r.Pruning != nil {
		result.Sparsity = quant.Sparsity(w)
	}
	return f.output.print(cmd, result, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "%s: %d parameters in %d bytes, digest %s\n", dir, result.Params, result.Stored, digest)
		if f.result != nil {
			fmt.Fprintf(stdout, "loss %.4f nats after %d steps; the float model has %.4f\n", f.result.LossAfter, f.result.Steps, f.result.LossBefore)
		}
		for _, e := range r.Matrices {
			fmt.Fprintf(stdout, "  %-45s %7s bits %8d bytes  relative error %.4f\n", e.Name, quant.BitsName(e.Bits), e.Bytes, e.Relative)
		}
	})
}

// calibration runs the float model of a folder over training sequences of the workload.
func (f *quantizeFlags) calibration(cmd *cobra.Command) (o quant.Options, err error) {
	if f.calibrate < 0 {
		return o, usagef("--calibrate is %d, want 1 or more sequences, or 0 for none", f.calibrate)
	}
	if err := errors.Join(f.machine.check(), f.work.check(cmd.Flags())); err != nil {
		return o, err
	}
	_, floats, err := pipeline.OpenFloat(f.model)
	if err != nil {
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
	if most := pipeline.MaxCalibration(w.Context); f.calibrate > most {
		return o, usagef("--calibrate is %d, want 1 to %d sequences of %d tokens, of which a few hundred do", f.calibrate, most, w.Context)
	}
	return pipeline.Calibrate(cmd.Context(), floats, w, f.calibrate, f.work.taskSeed, f.machine.threads)
}
