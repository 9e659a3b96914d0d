package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/files"
	"mito/engine/pipeline"
	"mito/engine/report"
	"mito/engine/task"
	"mito/engine/train"
)

// fitFlags are what train and distill share: workload, model, optimiser and folder.
type fitFlags struct {
	machine machineFlags
	work    workFlags
	output  outputFlags

	arch, config, out, split string
	batch                    int
	resume                   bool
	train                    train.Options
}

func (f *fitFlags) register(fs *pflag.FlagSet, shape string) {
	// --model names a folder in the other commands. Here it was the preset's flag, and still is for scripts that say so.
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "model" {
			name = "arch"
		}
		return pflag.NormalizedName(name)
	})
	f.work.register(fs)
	f.machine.register(fs)
	f.output.register(fs)
	fs.StringVar(&f.arch, "arch", shape, "architecture of the model, one of those that mito info lists; --model means the same")
	fs.StringVar(&f.config, "config", "", "JSON file with keys of config.json that replace those of --arch")
	fs.StringVar(&f.out, "out", "", "folder of the run (required)")
	fs.StringVar(&f.split, "split", string(task.Train), "task: positions to train on, train or all")
	fs.BoolVar(&f.resume, "resume", false, "continue the run in --out, or begin it where there is none")
	fs.IntVar(&f.batch, "batch", 0, "sequences of a batch; the workload's usual number where it is left out")

	o := train.Defaults()
	f.train = o
	t := &f.train
	fs.IntVar(&t.Steps, "steps", o.Steps, "steps")
	fs.IntVar(&t.MicroBatches, "micro-batches", o.MicroBatches, "parts that a batch is computed in; less memory, the same weights")
	fs.Uint64Var(&t.Seed, "seed", o.Seed, "seed of the model and the batches")
	fs.StringVar(&t.Optimizer, "optimizer", train.Muon, "muon (matrices by Muon, tables and vectors by AdamW) or adamw (all)")
	fs.Float64Var(&t.LR, "lr", 0.005, "learning rate of AdamW; with muon that of the tables and vectors")
	fs.Float64Var(&t.MuonLR, "muon-lr", o.MuonLR, "muon: learning rate of the matrices")
	fs.Float64Var(&t.Beta1, "beta1", o.Beta1, "decay of AdamW's first moment")
	fs.Float64Var(&t.Beta2, "beta2", 0.95, "decay of AdamW's second moment")
	fs.Float64Var(&t.Momentum, "momentum", o.Momentum, "muon: momentum of the matrices")
	fs.Float64Var(&t.WeightDecay, "weight-decay", 0, "decoupled weight decay, never on vectors")
	fs.Float64Var(&t.ClipNorm, "clip", 0, "largest norm of the gradient; 0 for any")
	fs.StringVar(&t.Schedule, "schedule", train.WSD, "constant, cosine or wsd")
	fs.IntVar(&t.Warmup, "warmup", 0, "steps of linear warm-up")
	fs.Float64Var(&t.Decay, "decay", 0.4, "wsd: share of the steps that the rate falls over")
	fs.Float64Var(&t.MinLR, "min-lr", 0, "learning rate at the end, as a share of the peak")
	fs.StringVar(&t.Labels, "labels", o.Labels, "of several right answers: one drawn, or all shared")
	fs.Float64Var(&t.Dropout, "dropout", 0, "dropout rate")
	fs.Float64Var(&t.Smoothing, "smoothing", 0, "label smoothing")
	fs.Float64Var(&t.EMA, "ema", 0, "decay of the moving average of the weights, which is what ships; 0 for none")
	fs.IntVar(&t.EvalEvery, "eval-every", 0, "steps between evaluations; 0 for the end only")
	fs.IntVar(&t.SaveEvery, "save-every", 0, "steps between checkpoints; 0 for a tenth of the run")
	fs.IntVar(&t.LogEvery, "log-every", o.LogEvery, "steps between lines of metrics.jsonl")
}

// options checks the flags and makes the options of a fitting.
func (f *fitFlags) options(name string, w *pipeline.Workload) (o pipeline.FitOptions, err error) {
	shape, err := pipeline.ShapeOf(f.arch)
	if err != nil {
		return o, usage(err)
	}
	c := shape.At(w.Tokenizer.VocabSize(), w.Context)
	if f.config != "" {
		if c, err = override(c, f.config); err != nil {
			return o, err
		}
	}
	if f.batch == 0 {
		f.batch = 12
		if w.Task != nil {
			f.batch = 256
		}
	}
	if f.train.SaveEvery == 0 {
		f.train.SaveEvery = max(1, f.train.Steps/10)
	}
	o = pipeline.FitOptions{
		Name: name, Dir: f.out, Resume: f.resume, Config: c, Init: pipeline.Scaled(), Train: f.train, Rows: f.batch,
		Split: task.Split(f.split), Judge: task.Test,
	}
	if o.Split == task.All {
		o.Judge = task.All
	}
	return o, nil
}

func (f *fitFlags) check(fs *pflag.FlagSet) error {
	if f.out == "" {
		return usagef("--out is missing: the folder of the run")
	}
	if f.batch < 0 {
		return usagef("--batch is %d, want 1 or more", f.batch)
	}
	if f.split != string(task.Train) && f.split != string(task.All) {
		return usagef("--split is %q, want train or all", f.split)
	}
	if _, err := pipeline.ShapeOf(f.arch); err != nil {
		return usagef("--arch: %w", err)
	}
	if err := f.work.check(fs, "split", "labels"); err != nil {
		return err
	}
	t := &f.train
	if t.Optimizer == train.AdamW {
		if err := without(fs, "--optimizer adamw", "muon-lr", "momentum"); err != nil {
			return err
		}
	}
	if t.Schedule != train.WSD {
		if err := without(fs, "--schedule "+t.Schedule, "decay"); err != nil {
			return err
		}
	}
	if t.Schedule == train.Constant {
		if err := without(fs, "--schedule constant", "min-lr"); err != nil {
			return err
		}
	}
	if err := t.Validate(); err != nil {
		return usage(err)
	}
	return pipeline.CheckOutput(f.out, f.resume)
}

// override replaces keys of a configuration by those of a file. Keys that config.json does not have are refused: a
// mistyped one would be passed over in silence.
func override(c arch.Config, path string) (arch.Config, error) {
	var keys map[string]json.RawMessage
	if err := files.ReadJSON(path, &keys, 0); err != nil {
		return c, fmt.Errorf("--config: %w", err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return c, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return c, err
	}
	known := configKeys()
	for key, value := range keys {
		if !slices.Contains(known, key) {
			return c, fmt.Errorf("--config: %s: unknown key %q", path, key)
		}
		all[key] = value
	}
	// Head width follows from the others unless the file gives it.
	if _, given := keys["head_dim"]; !given {
		delete(all, "head_dim")
	}
	if text, err = json.Marshal(all); err != nil {
		return c, err
	}
	return arch.Parse(text)
}

// configKeys lists the keys of config.json, those too that are left out where they are zero.
func configKeys() []string {
	var keys []string
	for t, i := reflect.TypeFor[arch.Config](), 0; i < t.NumField(); i++ {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys = append(keys, key)
	}
	return keys
}

// fitResult is what train and distill print.
type fitResult struct {
	Task        string        `json:"task"`
	Seed        uint64        `json:"seed"`
	Backend     string        `json:"backend"`
	Dir         string        `json:"dir"`
	Params      int64         `json:"params"`
	Steps       int           `json:"steps"`
	LossNats    report.Number `json:"loss_nats"`
	BitsPerByte report.Number `json:"bits_per_byte"`
	Seconds     float64       `json:"seconds"`
}

// once leaves the result of a stage to what is printed at the end.
type once struct{ pipeline.Progress }

func (p once) End(result string) {
	if result != pipeline.Stopped {
		result = "done"
	}
	p.Progress.End(result)
}

// run fits and prints.
func (f *fitFlags) run(cmd *cobra.Command, b backend.Backend, w *pipeline.Workload, o pipeline.FitOptions) error {
	began := time.Now()
	fitted, err := pipeline.Fit(cmd.Context(), b, w, o, once{newProgress(cmd, f.output.quiet)})
	if option := (*train.OptionError)(nil); errors.As(err, &option) { // one that depends on the data
		return usage(err)
	}
	if err != nil {
		return resumable(cmd.Context(), err, f.resume)
	}
	r := fitResult{
		Task: w.Name, Seed: o.Train.Seed, Backend: b.Info().Name, Dir: fitted.Dir, Params: o.Config.Params(),
		Steps: fitted.Steps, LossNats: report.Number(fitted.Loss.PerToken()),
		BitsPerByte: report.Number(fitted.Loss.BitsPerByte()), Seconds: time.Since(began).Seconds(),
	}
	return f.output.print(cmd, r, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "%s: %d parameters, loss %.4f nats, %.4f bits per byte\n", r.Dir, r.Params, r.LossNats, r.BitsPerByte)
	})
}
