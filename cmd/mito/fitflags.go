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
	"mito/engine/compress/quant"
	"mito/engine/eval"
	"mito/engine/export"
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
	ranks   rankFlags

	arch, config, from, out, split string
	reference                      string
	batch, pleDim                  int
	qat                            float64
	bits                           string
	resume                         bool
	train                          train.Options

	judge func(dir string) (*eval.Acceptance, error) // of a draft, nil for none
}

func (f *fitFlags) register(fs *pflag.FlagSet, shape func(pipeline.Recipe) string) {
	// --model names a folder in the other commands. Here it was the preset's flag, and still is for scripts that say so.
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "model" {
			name = "arch"
		}
		return pflag.NormalizedName(name)
	})
	r := pipeline.RecipeOf("")
	f.work.register(fs)
	f.machine.register(fs)
	f.output.register(fs)
	f.ranks.register(fs)
	fs.StringVar(&f.arch, "arch", shape(r), "architecture of the model, one of those that mito info lists; --model means the same")
	fs.StringVar(&f.config, "config", "", "JSON file with keys of config.json that replace those of --arch")
	fs.IntVar(&f.pleDim, "ple-dim", 0, "width of per-layer embeddings: every layer has a table of all tokens, of which a token reads one row; 0 for none, or what --config says")
	fs.StringVar(&f.out, "out", "", "folder of the run (required)")
	fs.StringVar(&f.split, "split", string(task.Train), "task: positions to train on, train or all")
	fs.BoolVar(&f.resume, "resume", false, "continue the run in --out, or begin it where there is none")
	fs.IntVar(&f.batch, "batch", 0, "sequences of a batch; the workload's usual number where it is left out")

	fs.Float64Var(&f.qat, "qat", 0, "share of the steps, the last, that train the INT8 student with its own arithmetic, which is then what is saved; --qat alone is a tenth, 0 none")
	fs.Lookup("qat").NoOptDefVal = "0.1"
	fs.StringVar(&f.bits, "bits", "", "with --qat: "+bitsUsage)
	fs.StringVar(&f.from, "from", "", "folder of a float model whose weights the run begins with, in place of fresh ones; its architecture is the run's")

	f.train = r.Train
	t, o := &f.train, r.Train
	fs.IntVar(&t.Steps, "steps", o.Steps, "steps; with --resume a larger number extends the run, with the schedule of the new number from there on")
	fs.IntVar(&t.MicroBatches, "micro-batches", o.MicroBatches, "parts that a batch is computed in; less memory, the same weights")
	fs.Uint64Var(&t.Seed, "seed", o.Seed, "seed of the model and the batches")
	fs.StringVar(&t.Optimizer, "optimizer", o.Optimizer, "muon (matrices by Muon, tables and vectors by AdamW) or adamw (all)")
	fs.Float64Var(&t.LR, "lr", o.LR, "learning rate of AdamW; with muon that of the tables and vectors")
	fs.Float64Var(&t.MuonLR, "muon-lr", o.MuonLR, "muon: learning rate of the matrices")
	fs.Float64Var(&t.Beta1, "beta1", o.Beta1, "decay of AdamW's first moment")
	fs.Float64Var(&t.Beta2, "beta2", o.Beta2, "decay of AdamW's second moment")
	fs.Float64Var(&t.Momentum, "momentum", o.Momentum, "muon: momentum of the matrices")
	fs.Float64Var(&t.WeightDecay, "weight-decay", o.WeightDecay, "decoupled weight decay, never on vectors")
	fs.Float64Var(&t.ClipNorm, "clip", o.ClipNorm, "largest norm of the gradient; 0 for any")
	fs.StringVar(&t.Schedule, "schedule", o.Schedule, "constant, cosine or wsd")
	fs.IntVar(&t.Warmup, "warmup", o.Warmup, "steps of linear warm-up")
	fs.Float64Var(&t.Decay, "decay", o.Decay, "wsd: share of the steps that the rate falls over")
	fs.Float64Var(&t.MinLR, "min-lr", o.MinLR, "learning rate at the end, as a share of the peak")
	fs.StringVar(&t.Labels, "labels", o.Labels, "of several right answers: one drawn, or all shared")
	fs.Float64Var(&t.Dropout, "dropout", o.Dropout, "dropout rate")
	fs.Float64Var(&t.Smoothing, "smoothing", o.Smoothing, "label smoothing")
	fs.Float64Var(&t.EMA, "ema", o.EMA, "decay of the moving average of the weights, which is what ships; 0 for none")
	fs.StringVar(&t.LossTokens, "loss-tokens", "", "learn from some targets of each row only: excess (whose loss exceeds a reference's most) or gradient (whose gradient is longest)")
	fs.Float64Var(&t.LossShare, "loss-share", defaultLossShare, "with --loss-tokens: share of the targets")
	fs.StringVar(&f.reference, "reference", "", "with --loss-tokens excess: folder of a trained model with the same tokenizer; distill takes its teachers where it is left out")
	fs.Float64Var(&t.DropTokens, "drop-tokens", 0, "share of each row that the layers between the first and the last leave out at first; fewer with every step")
	fs.Float64Var(&t.DropUntil, "drop-until", defaultDropUntil, "with --drop-tokens: share of the steps after which they see all")
	fs.IntVar(&f.work.filter.Lines, "filter-lines", 0, "corpus: keep a line of the training part so many times, without its later copies; 0 for all")
	fs.IntVar(&f.work.filter.Runs, "filter-runs", 0, "corpus: keep so many of equal characters in a row in the training part; 0 for all")
	fs.IntVar(&t.EvalEvery, "eval-every", 0, "steps between evaluations; 0 for the end only")
	fs.IntVar(&t.SaveEvery, "save-every", 0, "steps between checkpoints; 0 for a tenth of the run")
	fs.IntVar(&t.LogEvery, "log-every", o.LogEvery, "steps between lines of metrics.jsonl")
}

const (
	defaultLossShare = 0.6 // RHO-1's
	defaultDropUntil = 0.6 // until the rate falls, by the recipe
)

// checkTokens refuses flags of choosing and dropping tokens that need another, and clears what is not used, so that a run
// without them is saved as ever.
func (f *fitFlags) checkTokens(fs *pflag.FlagSet) error {
	t := &f.train
	if t.LossTokens == train.AllTargets {
		if err := without(fs, "a run without --loss-tokens", "loss-share", "reference"); err != nil {
			return err
		}
		t.LossShare = 0
	}
	if t.LossTokens == train.Gradient {
		if err := without(fs, "--loss-tokens gradient", "reference"); err != nil {
			return err
		}
	}
	if t.DropTokens == 0 {
		if err := without(fs, "a run without --drop-tokens", "drop-until"); err != nil {
			return err
		}
		t.DropUntil = 0
	}
	if err := f.work.filter.Validate(); err != nil {
		return usage(err)
	}
	return nil
}

// openReference opens the model of --reference; nil without one.
func (f *fitFlags) openReference(b backend.Backend) (*pipeline.Teacher, error) {
	if f.reference == "" {
		return nil, nil
	}
	dir, err := modelFolder("--reference", f.reference)
	if err != nil {
		return nil, err
	}
	r, err := pipeline.OpenTeacher(b, dir)
	if err != nil {
		return nil, fmt.Errorf("--reference: %w", err)
	}
	return r, nil
}

// start opens the model that --from names, and makes rows as long as its context where --context is left out. It is nil
// where there is none.
func (f *fitFlags) start(fs *pflag.FlagSet) (*pipeline.Start, error) {
	if f.from == "" {
		return nil, nil
	}
	dir, err := modelFolder("--from", f.from)
	if err != nil {
		return nil, err
	}
	s, err := pipeline.OpenStart(dir)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	if !fs.Changed("context") {
		f.work.context = s.Config.Context
	}
	return s, nil
}

// shape is the configuration of the model.
func (f *fitFlags) shape(w *pipeline.Workload, start *pipeline.Start) (c arch.Config, err error) {
	if start != nil {
		if w.Context > start.Config.Context {
			return c, fmt.Errorf("--from: %s has a context of %d tokens, a row has %d", f.from, start.Config.Context, w.Context)
		}
		return start.Config, nil
	}
	shape, err := pipeline.ShapeOf(f.arch)
	if err != nil {
		return c, usage(err)
	}
	if c = shape.At(w.Tokenizer.VocabSize(), w.Context); f.config != "" {
		if c, err = override(c, f.config); err != nil {
			return c, err
		}
	}
	if f.pleDim != 0 {
		c.PLEDim = f.pleDim
		return c, usage(c.Validate())
	}
	return c, nil
}

// options checks the flags and makes the options of a fitting.
func (f *fitFlags) options(fs *pflag.FlagSet, name string, w *pipeline.Workload, start *pipeline.Start) (o pipeline.FitOptions, err error) {
	c, err := f.shape(w, start)
	if err != nil {
		return o, err
	}
	recipe := pipeline.RecipeOf(f.work.kind())
	if f.batch == 0 {
		f.batch = recipe.Rows
	}
	if f.train.SaveEvery == 0 {
		f.train.SaveEvery = max(1, f.train.Steps/10)
	}
	o = pipeline.FitOptions{
		Name: name, Dir: f.out, Resume: f.resume, Extend: fs.Changed("steps"), Config: c, Init: recipe.Init, Start: start,
		Train: f.train, Rows: f.batch,
		Split: task.Split(f.split), Judge: task.Test,
	}
	if o.Split == task.All {
		o.Judge = task.All
	}
	if f.qat != 0 {
		rules, err := parseBits(f.bits)
		if err != nil {
			return o, err
		}
		if _, err := quant.BitsOf(c, rules); err != nil {
			return o, usagef("--bits: %w", err)
		}
		o.Aware = &pipeline.Aware{Share: f.qat, Rules: rules}
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
	if f.qat < 0 || f.qat > 1 {
		return usagef("--qat is %v, want a share of the steps, 0 to 1", f.qat)
	}
	if f.qat == 0 {
		if err := without(fs, "a run without --qat", "bits"); err != nil {
			return err
		}
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
	if f.from != "" {
		if err := without(fs, "--from", "arch", "config", "ple-dim", "bpe"); err != nil {
			return err
		}
	}
	if err := f.checkTokens(fs); err != nil {
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
	if err := f.ranks.discover(fs, &f.machine); err != nil || f.ranks.launch.Rank > 0 {
		return err
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

	Acceptance *eval.Acceptance `json:"acceptance,omitempty"` // of a draft
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
func (f *fitFlags) run(cmd *cobra.Command, b backend.Backend, w *pipeline.Workload, o pipeline.FitOptions) (err error) {
	began := time.Now()
	if o.Reference, err = f.openReference(b); err != nil {
		return err
	}
	if o.Reference != nil {
		defer closing(o.Reference, &err)
	}
	o.Ranks = f.ranks.group
	follows := o.Ranks != nil && o.Ranks.Rank() > 0
	fitted, err := pipeline.Fit(cmd.Context(), b, w, o, once{newProgress(cmd, f.output.quiet || follows)})
	if option := (*train.OptionError)(nil); errors.As(err, &option) { // one that depends on the data
		return usage(err)
	}
	if err != nil {
		return resumable(cmd.Context(), err, f.resume)
	}
	if follows { // rank 0 says what came of it
		return nil
	}
	r := fitResult{
		Task: w.Name, Seed: o.Train.Seed, Backend: b.Info().Name, Dir: fitted.Dir, Params: o.Config.Params(),
		Steps: fitted.Steps, LossNats: report.Number(fitted.Loss.PerToken()),
		BitsPerByte: report.Number(fitted.Loss.BitsPerByte()), Seconds: time.Since(began).Seconds(),
	}
	if note := export.Note(o.Config); note != "" && !f.output.quiet {
		fmt.Fprintln(cmd.ErrOrStderr(), note)
	}
	if f.judge != nil {
		if r.Acceptance, err = f.judge(fitted.Dir); err != nil {
			return err
		}
	}
	return f.output.print(cmd, r, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "%s: %d parameters, loss %.4f nats, %.4f bits per byte\n", r.Dir, r.Params, r.LossNats, r.BitsPerByte)
		if r.Acceptance != nil {
			fmt.Fprintln(stdout, *r.Acceptance)
		}
	})
}
