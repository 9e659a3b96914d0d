package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/engine/checkpoint"
	"mito/engine/compress/convert"
	"mito/engine/pipeline"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/train"
)

// convertFlags are those of the command.
type convertFlags struct {
	machine machineFlags
	work    workFlags
	output  outputFlags
	o       pipeline.ConvertOptions
	layers  string
}

func newConvert() *cobra.Command {
	var f convertFlags
	cmd := &cobra.Command{
		Use:   "convert",
		Short: "Give a trained model fewer key and value heads, or a window, and heal it by distillation",
		Long: `Change the attention of a trained float model so that its cache of keys and values is smaller: --kv-heads makes
grouped queries of it (GQA; MQA with 1), each new head what those that it stands for have most in common, or their mean with
--pool mean, and --window has a token see so many positions, itself included. --steps heals by distillation from the model as it
was; --out is the folder of a run then, without it that of a model.`,
		Example: "  mito convert --model book --corpus book.txt --kv-heads 1 --steps 200 --out book-mqa\n" +
			"  mito convert --model book --corpus book.txt --window 32 --layers 1-3 --steps 200 --out book-window",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fs := cmd.Flags()
	f.work.register(fs)
	f.machine.register(fs)
	f.output.register(fs)
	o := &f.o
	fs.StringVar(&o.Dir, "model", "", "folder of the trained float model (required)")
	fs.StringVar(&o.Out, "out", "", "folder for the result (required)")
	fs.IntVar(&o.KVHeads, "kv-heads", 0, "key and value heads of a layer, a divisor of those that there are; 0 for as many")
	fs.StringVar(&o.Pool, "pool", convert.Fit, "how several heads become one: fit (what they have most in common) or mean")
	fs.IntVar(&o.Window, "window", 0, "positions that a token sees, itself included; 0 for as many as now")
	fs.StringVar(&f.layers, "layers", "", "layers to convert, such as 2,3 or 2-5; all where it is left out")
	registerHealing(fs, &o.Healing, "that heals, by distillation from --teacher")
	return cmd
}

// registerHealing registers the flags of the training that follows a change of a trained model.
func registerHealing(fs *pflag.FlagSet, o *pipeline.Healing, what string) {
	r, t := pipeline.RecipeOf(""), &o.Train
	*t = r.Train
	t.Decay = 1 // from the first step on: a healing begins where a training has ended
	fs.Uint64Var(&t.Seed, "seed", t.Seed, "seed of the sequences and the batches")
	fs.IntVar(&t.Steps, "steps", 0, "steps of the training "+what+"; 0 for none")
	fs.StringVar(&o.Teacher, "teacher", "", "folder of the model that teaches then; left out it is --model")
	o.Distill = r.Distill
	fs.Float64Var(&o.Distill.Temperature, "temperature", o.Distill.Temperature, "temperature of the teacher's and the student's probabilities")
	fs.Float64Var(&o.Distill.Alpha, "alpha", o.Distill.Alpha, "weight of the labels; the rest is the teacher's")
	fs.IntVar(&o.Batch, "batch", 0, "sequences of a batch; the workload's usual number where it is left out")
	fs.IntVar(&t.MicroBatches, "micro-batches", t.MicroBatches, "parts that a batch is computed in; less memory, the same weights")
	fs.StringVar(&t.Optimizer, "optimizer", t.Optimizer, "muon (matrices by Muon, tables and vectors by AdamW) or adamw (all)")
	fs.Float64Var(&t.LR, "lr", 0.002, "learning rate of AdamW, falling to 0 over --decay; with muon that of the tables and vectors")
	fs.Float64Var(&t.MuonLR, "muon-lr", 0.01, "muon: learning rate of the matrices, falling to 0 over --decay")
	fs.Float64Var(&t.Decay, "decay", t.Decay, "share of the steps that the learning rate falls over, at the end; 1 for all of them")
	fs.Float64Var(&t.EMA, "ema", t.EMA, "decay of the moving average of the weights, which is what ships; 0 for none")
	fs.IntVar(&t.SaveEvery, "save-every", 0, "steps between checkpoints; 0 for a tenth of the run")
	fs.BoolVar(&o.Resume, "resume", false, "continue the run in --out, or begin it where there is none")
}

// healing are the flags of registerHealing that mean something with steps only.
var healing = []string{"batch", "micro-batches", "optimizer", "lr", "muon-lr", "decay", "ema", "teacher", "temperature", "alpha", "save-every", "resume"}

// checkHealing refuses what cannot be meant, and fills in what was left out.
func checkHealing(fs *pflag.FlagSet, o *pipeline.Healing, work *workFlags, others ...string) (err error) {
	t := &o.Train
	switch {
	case t.Steps < 0:
		return usagef("--steps is %d, want 0 or more", t.Steps)
	case o.Batch < 0:
		return usagef("--batch is %d, want 1 or more", o.Batch)
	}
	if t.Steps == 0 {
		if err := without(fs, "a run without --steps", append(others, healing...)...); err != nil {
			return err
		}
	}
	if t.Optimizer == train.AdamW {
		if err := without(fs, "--optimizer adamw", "muon-lr"); err != nil {
			return err
		}
	}
	if err := work.check(fs); err != nil {
		return err
	}
	if err := o.Distill.Validate(); err != nil {
		return usage(err)
	}
	if o.Batch == 0 {
		o.Batch = pipeline.RecipeOf(work.kind()).Rows
	}
	if t.SaveEvery == 0 {
		t.SaveEvery = max(1, t.Steps/10)
	}
	if o.Teacher != "" {
		if o.Teacher, err = modelFolder("--teacher", o.Teacher); err != nil {
			return err
		}
	}
	o.Dir, err = modelFolder("--model", o.Dir)
	return err
}

func (f *convertFlags) check(fs *pflag.FlagSet) (err error) {
	o := &f.o
	if o.Dir == "" || o.Out == "" {
		return usagef("--model and --out are needed: a trained model and a folder for the result")
	}
	if o.KVHeads == 0 && o.Window == 0 {
		return usagef("what to convert to? give --kv-heads N or --window N")
	}
	if o.Layers, err = parseLayers(f.layers); err != nil {
		return err
	}
	if err := checkHealing(fs, &o.Healing, &f.work); err != nil {
		return err
	}
	if err := o.Check(); errors.As(err, new(*train.OptionError)) {
		return usage(err)
	} else if err != nil {
		return err
	}
	return nil
}

// convertResult is what the command prints.
type convertResult struct {
	Task       string         `json:"task"`
	Seed       uint64         `json:"seed"`
	Backend    string         `json:"backend"`
	Dir        string         `json:"dir"`
	KVHeads    int            `json:"kv_heads"` // of the layer with most
	Window     int            `json:"window"`   // of the layer that sees most; 0 for all
	Steps      int            `json:"steps"`
	Params     int64          `json:"params"`
	Trained    int64          `json:"trained_params"`
	Bytes      int64          `json:"bytes"` // of model.safetensors
	KVBefore   pipeline.Cache `json:"kv_bytes_before"`
	KVAfter    pipeline.Cache `json:"kv_bytes_after"`
	LossBefore report.Number  `json:"loss_before"`
	LossCut    report.Number  `json:"loss_converted"` // before it was healed
	LossAfter  report.Number  `json:"loss_after"`
	Seconds    float64        `json:"seconds"`
}

func (f *convertFlags) run(cmd *cobra.Command) (err error) {
	began := time.Now()
	if err := f.check(cmd.Flags()); err != nil {
		return err
	}
	start, err := pipeline.OpenStart(f.o.Dir)
	if err != nil {
		return fmt.Errorf("--model: %w", err)
	}
	if err := f.o.Options.Check(start.Config); err != nil {
		return usage(err)
	}
	b, err := f.machine.open(cmd, f.output.quiet)
	if err != nil {
		return err
	}
	defer closing(b, &err)
	w, err := f.work.openFor(cmd, start, f.o.Dir)
	if err != nil {
		return err
	}
	p, err := pipeline.Convert(cmd.Context(), b, w, f.o, once{newProgress(cmd, f.output.quiet)})
	if option := (*train.OptionError)(nil); errors.As(err, &option) { // one that depends on the data
		return usage(err)
	}
	if err != nil && f.o.Train.Steps > 0 {
		return resumable(cmd.Context(), err, f.o.Resume)
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(runs.ResolveModel(p.Dir), checkpoint.WeightsName))
	if err != nil {
		return err
	}
	r := convertResult{
		Task: w.Name, Seed: f.o.Train.Seed, Backend: b.Info().Name, Dir: p.Dir, KVHeads: p.Config.KVHeads, Window: p.Config.Window,
		Steps: f.o.Train.Steps, Params: p.Config.Params(), Bytes: info.Size(), KVBefore: p.CacheBefore, KVAfter: p.CacheAfter,
		LossBefore: report.Number(p.Before.PerToken()), LossCut: report.Number(p.Cut.PerToken()), LossAfter: report.Number(p.After.PerToken()),
		Seconds: time.Since(began).Seconds(),
	}
	if r.Steps > 0 {
		r.Trained = r.Params
	}
	return f.output.print(cmd, r, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "%s: %d parameters, loss %.4f nats; %.4f before, %.4f converted\n", r.Dir, r.Params, r.LossAfter, r.LossBefore, r.LossCut)
		fmt.Fprintf(stdout, "  keys and values of %d positions: %d bytes as float32, %d as INT8; %d and %d before\n",
			p.Config.Context, r.KVAfter.Float32, r.KVAfter.INT8, r.KVBefore.Float32, r.KVBefore.INT8)
	})
}
