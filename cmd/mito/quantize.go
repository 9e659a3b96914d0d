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
)

// quantizeFlags are those of the command.
type quantizeFlags struct {
	output     outputFlags
	machine    machineFlags
	work       workFlags
	model, out string
	method     string
	bits       string
	bytes      string
	calibrate  string
	sigma      float64
	smooth     float64
	aware      pipeline.AwareOptions // Train.Steps 0 for none

	rules  []quant.Rule
	budget int          // bytes, 0 for any
	rows   int          // of the calibration
	self   bool         // the model writes them
	result *awareResult // of a training, or nil

	sequences [][]int32 // of the calibration
	choices   []quant.Choice
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
	fs.StringVar(&f.calibrate, "calibrate", "0", "sequences that weigh the errors of the weights: a number of the corpus's or the task's, self or self:NUMBER for text that the model writes itself, 0 for none")
	fs.StringVar(&f.model, "model", "", "folder of the trained model (required)")
	fs.StringVar(&f.out, "out", "", "folder for the INT8 student (required)")
	fs.StringVar(&f.bits, "bits", "", bitsUsage)
	fs.StringVar(&f.bytes, "bytes", "", "instead of --bits: what the weights may take on disk, such as 200K; each matrix gets the bits that its measured sensitivity leaves it (K is 1024; needs --calibrate)")
	fs.StringVar(&f.method, "method", string(quant.Methods()[0]), "how weights are rounded: search (scales of least error), rtn (to nearest), sigma (clipped) or gptq (column by column, needs --calibrate)")
	fs.Float64Var(&f.sigma, "sigma", quant.DefaultSigma, "method sigma: standard deviations of a row, or a group, at which its weights are clipped")
	fs.Float64Var(&f.smooth, "smooth", 0, "move sizes of channels from activations to weights by this power of them, such as 0.5; 0 for none (needs --calibrate)")
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
	if err := f.checkCalibration(fs); err != nil {
		return err
	}
	t := &f.aware.Train
	if t.Steps < 0 {
		return usagef("--qat is %d, want 0 or more steps", t.Steps)
	}
	if t.Steps > 0 {
		if err := without(fs, "--qat", "calibrate", "method", "bytes", "smooth"); err != nil {
			return err
		}
	} else if err := without(fs, "a run without --qat", awareFlags...); err != nil {
		return err
	} else if (f.rows == 0 || f.self) && f.work.kind() != "" {
		return usagef("--task, --examples and --corpus give the sequences of --calibrate and --qat, which are missing")
	}
	if f.model, err = modelFolder("--model", f.model); err != nil {
		return err
	}
	if t.Steps > 0 {
		return f.checkAware(fs)
	}
	return runs.CheckFree(f.out) // before a calibration, which takes its time
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
	if f.rows != 0 {
		if o, err = f.calibration(cmd); err != nil {
			return err
		}
	}
	o.Method, o.Sigma, o.Smooth = quant.Method(f.method), f.sigma, f.smooth
	if f.budget == 0 {
		o.Bits = f.rules
	} else if o.Bits, err = f.choose(cmd, o); err != nil {
		return err
	}
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
	Choices  []quant.Choice      `json:"sensitivity,omitempty"`
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
		return &stoppedError{text: fmt.Sprintf("stopped by a signal; %s is complete, mito verify --model %[1]s gives its digest", dir)}
	}
	if err != nil {
		return err
	}
	result := quantizeResult{
		Dir: dir, Params: w.Params(), Bytes: w.Bytes(), Scheme: "int8", Digest: digest, Matrices: r.Matrices, Stored: quant.StoredBytes(w, r),
		awareResult: f.result, Choices: f.choices,
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
