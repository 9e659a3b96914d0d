package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/engine/compress/lora"
	"mito/engine/pipeline"
	"mito/engine/report"
	"mito/engine/task"
	"mito/engine/train"
)

// loraFlags are what an adapter is trained with.
type loraFlags struct {
	machine machineFlags
	work    workFlags
	output  outputFlags

	model, out, split, layers, cache string
	lora                             lora.Config
	train                            train.Options
	batch, cacheMiB                  int
	resume, int8                     bool
	merge, unmerge                   bool
	start                            pipeline.AdaptStart
	adapter, preset                  string
}

func newLora() *cobra.Command {
	var f loraFlags
	cmd := &cobra.Command{
		Use:   "lora",
		Short: "Adapt a frozen model to a task or a text by low-rank adapters (LoRA)",
		Long: `Train adapters beside the linear layers of a frozen model and save them as PEFT does: adapter_config.json and
adapter_model.safetensors in the folder "adapter" of the run. The model may be float or an INT8 student.

A target is the last part of a module's name (q_proj), its name inside a layer (mlp.up_proj), or a pattern of one (mlp.*).
With --layers only some layers adapt; --cache then keeps what the layers below the first of them compute, so that rows of
training data that come again cost the upper layers only. The rows of a text begin at multiples of --context then.

With --merge the adapter of --adapter is added to the weights of --model, and the result written to --out; an INT8 model is
rounded again. With --task, --examples or --corpus the losses of both are printed, which an INT8 model needs. --unmerge takes an adapter
out again, up to rounding.

With --preset stem one base learns a little of three tasks at once, an adapter is trained for each of them, and one process
switches between them.`,
		Example: "  mito lora --model book --corpus names.txt --rank 4 --alpha 8 --out names\n" +
			"  mito lora --model book --corpus names.txt --layers 3 --cache memory --out names-top\n" +
			"  mito lora --merge --model book --adapter names --out names-merged\n" +
			"  mito lora --preset stem --out cells",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.merge || f.unmerge:
				return f.runMerge(cmd)
			case f.preset != "":
				return f.runStem(cmd)
			}
			if err := f.check(cmd.Flags()); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func (f *loraFlags) register(fs *pflag.FlagSet) {
	f.work.register(fs)
	f.machine.register(fs)
	f.output.register(fs)
	fs.StringVar(&f.model, "model", "", "folder of the base, float or INT8 (required)")
	fs.StringVar(&f.out, "out", "", "folder of the run (required)")
	fs.BoolVar(&f.resume, "resume", false, "continue the run in --out, or begin it where there is none")
	fs.StringVar(&f.preset, "preset", "", "stem: train one base and an adapter for each of three tasks, all in --out")
	fs.BoolVar(&f.int8, "int8", false, "round a float base to INT8 first, as mito quantize does")
	fs.BoolVar(&f.merge, "merge", false, "add the adapter of --adapter to the weights of --model")
	fs.BoolVar(&f.unmerge, "unmerge", false, "take the adapter of --adapter out of the weights of --model")
	fs.StringVar(&f.adapter, "adapter", "", "with --merge or --unmerge: folder of the adapter")
	fs.StringVar(&f.split, "split", string(task.Train), "task: positions to train on, train or all")

	fs.IntVar(&f.lora.Rank, "rank", 8, "rank of the adapters, at most the width of what they adapt")
	fs.Float64Var(&f.lora.Alpha, "alpha", 16, "the adapters' output is multiplied by alpha/rank")
	fs.BoolVar(&f.lora.RSLoRA, "rslora", false, "multiply by alpha/sqrt(rank) instead")
	fs.Float64Var(&f.lora.Dropout, "dropout", 0, "dropout of the adapters' inputs")
	fs.IntVar(&f.start.Align, "align", 0, "batches by whose gradient A is aligned before the first step; 0 draws it")
	fs.Float64Var(&f.start.Gamma, "gamma", 1, "A begins so many times as large; with --alpha divided by it B learns so many times as fast beside A")
	fs.StringSliceVar(&f.lora.Targets, "targets", lora.DefaultTargets(), "modules to adapt, or patterns of them, with commas between")
	fs.StringVar(&f.layers, "layers", "", "layers that adapt, such as 2,3 or 2-5; all where it is left out")
	fs.StringVar(&f.cache, "cache", "none", "keep what the layers below the first of --layers compute: none, memory or disk (in --out)")
	fs.IntVar(&f.cacheMiB, "cache-mib", 512, "size of the cache at most")

	o := pipeline.AdaptTraining()
	f.train = o
	t := &f.train
	fs.IntVar(&f.batch, "batch", 0, "sequences of a batch; the workload's usual number where it is left out")
	fs.IntVar(&t.Steps, "steps", o.Steps, "steps")
	fs.IntVar(&t.MicroBatches, "micro-batches", o.MicroBatches, "parts that a batch is computed in; less memory, the same adapters")
	fs.Uint64Var(&t.Seed, "seed", o.Seed, "seed of the adapters and the batches")
	fs.StringVar(&t.Optimizer, "optimizer", o.Optimizer, "muon or adamw")
	fs.Float64Var(&t.LR, "lr", o.LR, "adamw: learning rate")
	fs.Float64Var(&t.MuonLR, "muon-lr", o.MuonLR, "muon: learning rate")
	fs.Float64Var(&t.WeightDecay, "weight-decay", o.WeightDecay, "decoupled weight decay")
	fs.Float64Var(&t.ClipNorm, "clip", o.ClipNorm, "largest norm of the gradient; 0 for any")
	fs.StringVar(&t.Schedule, "schedule", o.Schedule, "constant, cosine or wsd")
	fs.IntVar(&t.Warmup, "warmup", o.Warmup, "steps of linear warm-up")
	fs.StringVar(&t.Labels, "labels", o.Labels, "of several right answers: one drawn, or all shared")
	fs.IntVar(&t.EvalEvery, "eval-every", 0, "steps between evaluations; 0 for the end only")
	fs.IntVar(&t.SaveEvery, "save-every", 0, "steps between checkpoints; 0 for a tenth of the run")
	fs.IntVar(&t.LogEvery, "log-every", o.LogEvery, "steps between lines of metrics.jsonl")
}

func (f *loraFlags) check(fs *pflag.FlagSet) (err error) {
	switch {
	case f.model == "":
		return usagef("--model is missing: the folder of the model to adapt")
	case f.out == "":
		return usagef("--out is missing: the folder of the run")
	case f.adapter != "":
		return usagef("--adapter needs --merge or --unmerge: what is trained is new")
	case f.batch < 0:
		return usagef("--batch is %d, want 1 or more", f.batch)
	case f.split != string(task.Train) && f.split != string(task.All):
		return usagef("--split is %q, want train or all", f.split)
	case f.cache != "none" && f.cache != "memory" && f.cache != "disk":
		return usagef("--cache is %q, want none, memory or disk", f.cache)
	case f.cacheMiB < 1 || f.cacheMiB > math.MaxInt32:
		return usagef("--cache-mib is %d, want 1 or more", f.cacheMiB)
	case f.cache == "none" && fs.Changed("cache-mib"):
		return usagef("--cache-mib needs --cache memory or --cache disk")
	case f.cache != "none" && f.layers == "":
		return usagef("--cache needs --layers: where every layer adapts, nothing below them stays the same")
	}
	if f.lora.Layers, err = parseLayers(f.layers); err != nil {
		return err
	}
	if err := f.work.check(fs, "split", "labels"); err != nil {
		return err
	}
	if err := errors.Join(f.start.Validate(), f.train.Validate()); err != nil {
		return usage(err)
	}
	return pipeline.CheckOutput(f.out, f.resume)
}

// parseLayers reads numbers and ranges with commas between; nil for none.
func parseLayers(text string) (layers []int, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		lo, err := strconv.Atoi(strings.TrimSpace(first))
		hi := lo
		if ranged && err == nil {
			hi, err = strconv.Atoi(strings.TrimSpace(last))
		}
		if err != nil || lo < 0 || hi < lo || hi > 1<<16 {
			return nil, usagef("--layers is %q, want numbers from 0 on and ranges of them, such as 2,3 or 2-5", text)
		}
		for i := lo; i <= hi; i++ {
			layers = append(layers, i)
		}
	}
	return layers, nil
}

// loraResult is what the training of an adapter prints.
type loraResult struct {
	Task          string            `json:"task"`
	Seed          uint64            `json:"seed"`
	Backend       string            `json:"backend"`
	Dir           string            `json:"dir"`
	Base          string            `json:"base"`
	Params        int64             `json:"params"`         // of the base
	TrainedParams int64             `json:"trained_params"` // of the adapter
	Bytes         int64             `json:"bytes"`          // of the adapter
	Steps         int               `json:"steps"`
	LossBefore    report.Number     `json:"loss_before"` // of the base, nats a token
	LossAfter     report.Number     `json:"loss_after"`
	BitsPerByte   report.Number     `json:"bits_per_byte"`
	Cache         *lora.PrefixStats `json:"cache,omitempty"` // rows
	Seconds       float64           `json:"seconds"`
}

func (f *loraFlags) run(cmd *cobra.Command) (err error) {
	began := time.Now()
	dir, err := modelFolder("--model", f.model)
	if err != nil {
		return err
	}
	base, err := pipeline.OpenBase(cmd.Context(), dir, f.int8)
	if err != nil {
		return err
	}
	if _, err := f.lora.Modules(base.Floats.Config); err != nil {
		return usage(err)
	}
	b, err := f.machine.open(cmd, f.output.quiet)
	if err != nil {
		return err
	}
	defer closing(b, &err)
	if err := f.work.fitContext(cmd.Flags(), "--model", f.model, base.Floats.Config.Context); err != nil {
		return err
	}
	w, err := f.work.open(cmd, nil, base.Tokenizer)
	if err != nil {
		return err
	}
	o := f.options(w)
	a, err := pipeline.Adapt(cmd.Context(), b, base, w, o, once{newProgress(cmd, f.output.quiet)})
	if err != nil {
		return resumable(cmd.Context(), err, f.resume)
	}
	r := loraResult{
		Task: w.Name, Seed: o.Train.Seed, Backend: b.Info().Name, Dir: a.Dir, Base: dir, Params: base.Floats.Config.Params(),
		TrainedParams: a.Adapter.Params(), Bytes: a.Adapter.Bytes(), Steps: a.Steps, LossBefore: report.Number(a.Before.PerToken()),
		LossAfter: report.Number(a.After.PerToken()), BitsPerByte: report.Number(a.After.BitsPerByte()), Seconds: time.Since(began).Seconds(),
	}
	if o.Prefix > 0 {
		r.Cache = &a.Prefix
	}
	return f.output.print(cmd, r, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "%s: %d parameters trained (%.2f%% of the base's %d), %d bytes; loss %.4f nats before, %.4f after, %.4f bits per byte\n",
			r.Dir, r.TrainedParams, 100*float64(r.TrainedParams)/float64(r.Params), r.Params, r.Bytes, r.LossBefore, r.LossAfter, r.BitsPerByte)
		if r.Cache != nil {
			fmt.Fprintf(stdout, "  %d rows were found in the cache, %d computed\n", r.Cache.Found, r.Cache.Computed)
		}
	})
}

func (f *loraFlags) options(w *pipeline.Workload) pipeline.AdaptOptions {
	if f.batch == 0 {
		f.batch = pipeline.RecipeOf(f.work.kind()).Rows
	}
	if f.train.SaveEvery == 0 {
		f.train.SaveEvery = max(1, f.train.Steps/10)
	}
	o := pipeline.AdaptOptions{
		Start: f.start,
		Name:  "adapter", Dir: f.out, Resume: f.resume, Lora: f.lora, Train: f.train, Rows: f.batch,
		Split: task.Split(f.split), Judge: task.Test, PrefixDisk: f.cache == "disk",
	}
	if f.cache != "none" {
		o.Prefix = int64(f.cacheMiB) << 20
	}
	if o.Split == task.All {
		o.Judge = task.All
	}
	return o
}
