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
	"mito/engine/compress/prune"
	"mito/engine/pipeline"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/train"
)

// pruneFlags are those of the command.
type pruneFlags struct {
	machine machineFlags
	work    workFlags
	output  outputFlags
	o       pipeline.PruneOptions
	kind    string
	score   string
}

func newPrune() *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Make a trained model sparse or smaller, and recover what that costs",
		Long: `Remove the weights, heads, neurons, layers or channels of a trained float model that matter least, and train what is
left on what the whole model says. unstructured, block4x8 and 2:4 set weights to zero and keep the shapes; mito quantize then stores
block4x8 in blocks. heads, neurons, layers and width make a smaller model. With --steps, --out is the folder of a run,
without it that of a model.`,
		Example: "  mito prune --model teacher --task tictactoe --kind block4x8 --sparsity 0.75 --steps 300 --out sparse\n" +
			"  mito prune --model book --corpus book.txt --kind neurons --keep 256 --out slim",
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
	fs.StringVar(&f.kind, "kind", "", "what to remove: unstructured, block4x8, 2:4, heads, neurons, layers or width (required)")
	fs.Float64Var(&o.Sparsity, "sparsity", 0, "share to remove, more than 0 and less than 1; 2:4 is 0.5")
	fs.IntVar(&o.Keep, "keep", 0, "instead of --sparsity: query heads or neurons of each layer, layers or channels that stay")
	fs.StringVar(&f.score, "score", "", "what goes first: magnitude, wanda, obc or taylor; left out it is obc, for layers and width taylor")
	fs.Float64Var(&o.Spread, "spread", 0, "unstructured, block4x8: how far the sparsity of a matrix may lie from --sparsity; matrices that matter more keep more")
	fs.StringSliceVar(&o.Modules, "modules", nil, "patterns of the matrices to mask, such as mlp.* or model.layers.0.*; all inside the layers where it is left out")
	fs.StringVar(&o.Schedule, "schedule", prune.OneShot, "oneshot, or cubic for a sparsity that grows over the first half of the steps")
	fs.IntVar(&o.Rows, "calibrate", 128, "training sequences that the score looks at")
	registerHealing(fs, &o.Healing, "that recovers, by distillation from --teacher")
	return cmd
}

// check refuses what cannot be meant.
func (f *pruneFlags) check(fs *pflag.FlagSet) (err error) {
	o := &f.o
	if o.Dir == "" || o.Out == "" || f.kind == "" {
		return usagef("--model, --out and --kind are needed: a trained model, a folder for the result, and what to remove")
	}
	o.Kind, o.Score = prune.Kind(f.kind), prune.Score(f.score)
	if f.score == "" {
		o.Score = prune.OBC
		if o.Kind == prune.Layers || o.Kind == prune.Width {
			o.Score = prune.Taylor
		}
	}
	if o.Kind == prune.TwoFour && !fs.Changed("sparsity") {
		o.Sparsity = 0.5
	}
	if !o.Looks() {
		if err := without(fs, "--score magnitude", "calibrate"); err != nil {
			return err
		}
	}
	if err := checkHealing(fs, &o.Healing, &f.work, "schedule"); err != nil {
		return err
	}
	if err := o.Check(); errors.As(err, new(*train.OptionError)) {
		return usage(err)
	} else if err != nil {
		return err
	}
	return nil
}

// pruneResult is what the command prints.
type pruneResult struct {
	Task       string        `json:"task"`
	Seed       uint64        `json:"seed"`
	Backend    string        `json:"backend"`
	Dir        string        `json:"dir"`
	Kind       prune.Kind    `json:"kind"`
	Score      prune.Score   `json:"score"`
	Schedule   string        `json:"schedule"`
	Steps      int           `json:"steps"`
	Params     int64         `json:"params"`
	Live       int64         `json:"live_params"` // that are not zero by a mask
	Trained    int64         `json:"trained_params"`
	Sparsity   float64       `json:"sparsity"` // share of zeros in the masked matrices, or of the parameters that are gone
	Bytes      int64         `json:"bytes"`    // of model.safetensors
	LossBefore report.Number `json:"loss_before"`
	LossCut    report.Number `json:"loss_pruned"` // before the recovery
	LossAfter  report.Number `json:"loss_after"`
	Seconds    float64       `json:"seconds"`
}

func (f *pruneFlags) run(cmd *cobra.Command) (err error) {
	began := time.Now()
	if err := f.check(cmd.Flags()); err != nil {
		return err
	}
	start, err := pipeline.OpenStart(f.o.Dir)
	if err != nil {
		return fmt.Errorf("--model: %w", err)
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
	p, err := pipeline.Prune(cmd.Context(), b, w, f.o, once{newProgress(cmd, f.output.quiet)})
	if option := (*train.OptionError)(nil); errors.As(err, &option) { // one that depends on the model or the data
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
	r := pruneResult{
		Task: w.Name, Seed: f.o.Train.Seed, Backend: b.Info().Name, Dir: p.Dir, Kind: f.o.Kind, Score: f.o.Score, Schedule: f.o.Schedule,
		Steps: f.o.Train.Steps, Params: p.Config.Params(), Live: p.Live, Trained: p.Trained, Sparsity: p.Record.Reached, Bytes: info.Size(),
		LossBefore: report.Number(p.Before.PerToken()), LossCut: report.Number(p.Cut.PerToken()), LossAfter: report.Number(p.After.PerToken()),
		Seconds: time.Since(began).Seconds(),
	}
	return f.output.print(cmd, r, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "%s: %d parameters, %d of them not zero, loss %.4f nats; %.4f before, %.4f pruned\n",
			r.Dir, r.Params, r.Live, r.LossAfter, r.LossBefore, r.LossCut)
		if f.o.Kind.Masks() && f.o.Kind != prune.Block4x8 {
			fmt.Fprintln(stdout, "Its files are as large as before: zeros outside blocks are stored.")
		}
	})
}
