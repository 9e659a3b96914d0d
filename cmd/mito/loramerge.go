package main

import (
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"mito/engine/compress/lora"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/pipeline"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/session/adapters"
	"mito/engine/task"
)

// mergeResult is what a merge prints.
type mergeResult struct {
	Dir           string        `json:"dir"`
	Base          string        `json:"base"`
	Params        int64         `json:"params"`
	TrainedParams int64         `json:"trained_params"` // of the adapter
	Bytes         int64         `json:"bytes"`          // of the result's weights
	LossBefore    report.Number `json:"loss_before"`    // with the adapter beside the weights; null without data
	LossAfter     report.Number `json:"loss_after"`     // with the adapter in them
}

// checkMerge refuses what a merge has no use for.
func (f *loraFlags) checkMerge(cmd *cobra.Command) error {
	fs, other := cmd.Flags(), "--merge"
	if f.unmerge {
		other = "--unmerge"
	}
	switch {
	case f.merge && f.unmerge:
		return usagef("--merge and --unmerge contradict each other: give one of them")
	case f.model == "" || f.adapter == "" || f.out == "":
		return usagef("%s needs --model, --adapter and --out: a model, an adapter and a folder for the result", other)
	}
	if err := without(fs, other, append(ofTraining(), "resume", "seed", "backend", "precision", "preset")...); err != nil {
		return err
	}
	if f.unmerge {
		if err := without(fs, other, "task", "corpus", "lines", "examples"); err != nil {
			return err
		}
	}
	if f.work.kind() != "" {
		if err := f.work.check(fs); err != nil {
			return err
		}
	}
	return f.machine.check()
}

// ofTraining are the flags that say how one adapter is trained.
func ofTraining() []string {
	return []string{"rank", "alpha", "rslora", "align", "gamma", "dropout", "targets", "layers", "cache", "cache-mib", "int8", "steps", "batch",
		"micro-batches", "optimizer", "lr", "muon-lr", "weight-decay", "clip", "schedule", "warmup", "labels", "eval-every",
		"save-every", "log-every", "split"}
}

func (f *loraFlags) runMerge(cmd *cobra.Command) error {
	if err := f.checkMerge(cmd); err != nil {
		return err
	}
	dir, err := modelFolder("--model", f.model)
	if err != nil {
		return err
	}
	if err := runs.CheckFree(f.out); err != nil { // before a loss, which takes its time
		return err
	}
	base, err := pipeline.OpenBase(cmd.Context(), dir, false)
	if err != nil {
		return err
	}
	if base.Int8 != nil && f.work.kind() == "" && f.merge {
		return usagef("--model %s is INT8 and is rounded again: give --task, --examples or --corpus, whose losses say what that costs", f.model)
	}
	a, err := lora.Read(f.adapter, base.Floats.Config)
	if err != nil {
		return err
	}
	r := mergeResult{
		Dir: f.out, Base: dir, Params: base.Floats.Config.Params(), TrainedParams: a.Params(),
		LossBefore: report.Number(math.NaN()), LossAfter: report.Number(math.NaN()),
	}
	if err := pipeline.Merge(cmd.Context(), base, f.adapter, f.out, f.unmerge); err != nil {
		return err
	}
	if f.work.kind() != "" {
		if r.LossBefore, _, err = f.lossOf(cmd, dir, []adapters.Adapter{a.Runtime("adapter")}); err != nil {
			return err
		}
	}
	if r.LossAfter, r.Bytes, err = f.lossOf(cmd, f.out, nil); err != nil {
		return err
	}
	return f.output.print(cmd, r, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "%s: %d parameters in %d bytes\n", r.Dir, r.Params, r.Bytes)
		if f.work.kind() != "" {
			fmt.Fprintf(stdout, "loss %.4f nats with the adapter beside the weights, %.4f in them (%+.3f%%)\n", r.LossBefore, r.LossAfter,
				100*(float64(r.LossAfter)/float64(r.LossBefore)-1))
		}
	})
}

// lossOf evaluates a model, with an adapter where there is one, on the workload, where there is one.
func (f *loraFlags) lossOf(cmd *cobra.Command, dir string, list []adapters.Adapter) (loss report.Number, bytes int64, err error) {
	none := report.Number(math.NaN())
	rt, err := decode.Open(dir, decode.Options{Threads: f.machine.threads, Adapters: list})
	if err != nil {
		return none, 0, err
	}
	defer closing(rt, &err)
	bytes = int64(rt.Bytes())
	if f.work.kind() == "" {
		return none, bytes, nil
	}
	if len(list) > 0 {
		if rt, err = decode.WithAdapter(rt, list[0].Name); err != nil {
			return none, 0, err
		}
	}
	if err := f.work.fitContext(cmd.Flags(), "--model", f.model, rt.Context()); err != nil {
		return none, 0, err
	}
	w, err := f.work.open(cmd, nil, rt.Tokenizer())
	if err != nil {
		return none, 0, err
	}
	e, err := w.Eval(task.Test, evalRows(w.Context))
	if err != nil {
		return none, 0, err
	}
	l, err := eval.Loss(cmd.Context(), rt, e)
	return report.Number(l.PerToken()), bytes, err
}
