package train

import (
	"fmt"
	"math"
)

// Optimisers.
const (
	AdamW = "adamw" // arXiv:1711.05101
	Muon  = "muon"  // Muon for the matrices inside the model, AdamW for the rest
)

// Schedules of the learning rate after the warm-up.
const (
	Constant = "constant"
	Cosine   = "cosine" // to MinLR over the rest of the run, arXiv:1608.03983
	WSD      = "wsd"    // stable, then linearly to MinLR over the last Decay share, arXiv:2404.06395
)

// What a target with several right tokens teaches.
const (
	Drawn  = "drawn"  // one of them, drawn anew at every visit
	Shared = "shared" // all of them in equal shares
)

// Options are the settings of a run. They are saved with it; a resumed run must have the same, but for the number of
// micro-batches and the last group.
type Options struct {
	Steps        int    `json:"steps"`
	MicroBatches int    `json:"micro_batches"` // gradient accumulation; any number gives the same weights
	Seed         uint64 `json:"seed"`

	Optimizer   string  `json:"optimizer"`
	LR          float64 `json:"lr"`      // of AdamW
	MuonLR      float64 `json:"muon_lr"` // of Muon
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	WeightDecay float64 `json:"weight_decay"` // decoupled; never on vectors
	Momentum    float64 `json:"momentum"`     // of Muon
	NSSteps     int     `json:"ns_steps"`     // Newton-Schulz iterations of Muon
	ClipNorm    float64 `json:"clip_norm"`    // global norm of the gradient; 0 for no clipping

	Schedule string  `json:"schedule"`
	Warmup   int     `json:"warmup"` // steps of linear warm-up
	Decay    float64 `json:"decay"`  // share of the run that WSD decays over
	MinLR    float64 `json:"min_lr"` // as a share of the peak

	Labels    string  `json:"labels"` // drawn or shared
	Dropout   float64 `json:"dropout"`
	Smoothing float64 `json:"smoothing"` // label smoothing
	EMA       float64 `json:"ema"`       // decay of the moving average of the weights; 0 for none

	// Which targets are learnt from and which tokens are computed; see NewChoice and Options.keptTokens.
	LossTokens string  `json:"loss_tokens"` // excess or gradient; "" for all
	LossShare  float64 `json:"loss_share"`  // of the targets of a row, where they are chosen
	DropTokens float64 `json:"drop_tokens"` // share of a row that the layers between the first and the last leave out at first
	DropUntil  float64 `json:"drop_until"`  // share of the run after which they see all

	// How often to look and save; a resumed run may change these.
	EvalEvery int `json:"eval_every"` // steps; 0 for the end only
	SaveEvery int `json:"save_every"` // steps; 0 for the end only
	LogEvery  int `json:"log_every"`  // steps between readings of the loss
}

// Defaults is mito's recipe, from which the flags of the commands and the presets of the pipelines derive: Muon on the
// matrices and AdamW on tables and vectors, constant and then linearly to zero over the last 40% of the steps, without
// warm-up, decay of weights or clipping.
func Defaults() Options {
	return Options{
		Steps: 2000, MicroBatches: 1, Seed: 1,
		Optimizer: Muon, LR: 5e-3, MuonLR: 0.02, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Momentum: 0.95, NSSteps: 5,
		Schedule: WSD, Decay: 0.4,
		Labels: Drawn, LogEvery: 10,
	}
}

// OptionError reports a setting that cannot be.
type OptionError struct {
	Field string
	Got   any
	Want  string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("train: %s is %v, want %s", e.Field, e.Got, e.Want)
}

// Validate refuses settings that no run can have; the error is an *OptionError.
func (o Options) Validate() error {
	share := func(v float64) bool { return v >= 0 && v < 1 }
	finite := func(v float64) bool { return v >= 0 && !math.IsInf(v, 0) && !math.IsNaN(v) }
	for _, f := range []struct {
		ok    bool
		field string
		got   any
		want  string
	}{
		{o.Steps >= 1, "steps", o.Steps, "1 or more"},
		{o.MicroBatches >= 1, "micro-batches", o.MicroBatches, "1 or more"},
		{o.Optimizer == AdamW || o.Optimizer == Muon, "optimizer", o.Optimizer, "adamw or muon"},
		{finite(o.LR) && o.LR > 0, "learning rate", o.LR, "a positive number"},
		{o.Optimizer != Muon || finite(o.MuonLR) && o.MuonLR > 0, "muon learning rate", o.MuonLR, "a positive number"},
		{share(o.Beta1), "beta1", o.Beta1, "in [0,1)"},
		{share(o.Beta2), "beta2", o.Beta2, "in [0,1)"},
		{finite(o.Eps) && o.Eps > 0, "eps", o.Eps, "a positive number"},
		{finite(o.WeightDecay), "weight decay", o.WeightDecay, "0 or more"},
		{share(o.Momentum), "momentum", o.Momentum, "in [0,1)"},
		{o.Optimizer != Muon || o.NSSteps >= 1, "newton-schulz steps", o.NSSteps, "1 or more"},
		{finite(o.ClipNorm), "clip norm", o.ClipNorm, "0 (off) or more"},
		{o.Schedule == Constant || o.Schedule == Cosine || o.Schedule == WSD, "schedule", o.Schedule, "constant, cosine or wsd"},
		{o.Warmup >= 0, "warm-up", o.Warmup, "0 or more steps"},
		{o.Decay >= 0 && o.Decay <= 1, "decay", o.Decay, "in [0,1]"},
		{o.MinLR >= 0 && o.MinLR <= 1, "min lr", o.MinLR, "in [0,1], a share of the peak"},
		{o.Labels == Drawn || o.Labels == Shared, "labels", o.Labels, "drawn or shared"},
		{o.Labels == Drawn || o.Smoothing == 0, "label smoothing", o.Smoothing, "0 with shared labels"},
		{share(o.Dropout), "dropout", o.Dropout, "in [0,1)"},
		{share(o.Smoothing), "label smoothing", o.Smoothing, "in [0,1)"},
		{share(o.EMA), "ema", o.EMA, "in [0,1)"},
		{o.LossTokens == AllTargets || o.LossTokens == Excess || o.LossTokens == Gradient, "loss-tokens", o.LossTokens, "excess or gradient"},
		{o.LossTokens == AllTargets || o.LossShare > 0 && o.LossShare <= 1, "loss-share", o.LossShare, "more than 0, at most 1"},
		{share(o.DropTokens), "drop-tokens", o.DropTokens, "in [0,1)"},
		{o.DropTokens == 0 || o.DropUntil > 0 && o.DropUntil <= 1, "drop-until", o.DropUntil, "more than 0, at most 1"},
		{o.EvalEvery >= 0, "eval every", o.EvalEvery, "0 or more steps"},
		{o.SaveEvery >= 0, "save every", o.SaveEvery, "0 or more steps"},
		{o.LogEvery >= 1, "log every", o.LogEvery, "1 or more steps"},
	} {
		if !f.ok {
			return &OptionError{Field: f.field, Got: f.got, Want: f.want}
		}
	}
	return nil
}

// checkRows is CheckRows for a group, which cuts a batch for every rank.
func (o Options) checkRows(rows int, group Group) error {
	if group != nil && o.MicroBatches*group.Size() > rows {
		return &OptionError{Field: "micro-batches", Got: o.MicroBatches,
			Want: fmt.Sprintf("at most %d on each of %d ranks, which share the %d sequences of a batch", rows/group.Size(), group.Size(), rows)}
	}
	return o.CheckRows(rows)
}

// CheckRows refuses more micro-batches than a batch has sequences; the error is an *OptionError.
func (o Options) CheckRows(rows int) error {
	if o.MicroBatches > rows {
		return &OptionError{Field: "micro-batches", Got: o.MicroBatches, Want: fmt.Sprintf("at most the %d sequences of a batch", rows)}
	}
	return nil
}

// Rate is the factor on the learning rates at a step, counted from 0.
func (o Options) Rate(step int) float64 {
	if step < o.Warmup {
		return float64(step+1) / float64(o.Warmup)
	}
	switch o.Schedule {
	case Cosine:
		span := max(1, o.Steps-o.Warmup)
		t := min(1, float64(step-o.Warmup)/float64(span))
		return o.MinLR + (1-o.MinLR)*0.5*(1+math.Cos(math.Pi*t))
	case WSD:
		span := int(math.Round(o.Decay * float64(o.Steps)))
		if start := o.Steps - span; step >= start && span > 0 {
			t := float64(step-start+1) / float64(span)
			return 1 - (1-o.MinLR)*min(1, t)
		}
	}
	return 1
}

// lasting are the options without those that a resumed run may change.
func (o Options) lasting() Options {
	o.EvalEvery, o.SaveEvery, o.LogEvery, o.MicroBatches = 0, 0, 0, 0
	return o
}
