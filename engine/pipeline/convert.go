package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/compress/convert"
	"mito/engine/compress/prune"
	"mito/engine/data"
	"mito/engine/runs"
	"mito/engine/task"
)

// ConvertOptions describe a conversion of attention and the training that heals it.
type ConvertOptions struct {
	convert.Options
	Healing
}

// Converted is the result of a conversion.
type Converted struct {
	Dir    string // model folder
	Config arch.Config
	Before data.Loss // of the model as it was, on the split that judges
	Cut    data.Loss // converted, before it is healed
	After  data.Loss

	CacheBefore, CacheAfter Cache
}

// Cache is what the keys and values of one sequence of the model's context take.
type Cache struct {
	Float32 int64 `json:"float32"`
	INT8    int64 `json:"int8"`
}

func cacheOf(c arch.Config) (s Cache) {
	s.Float32, s.INT8 = convert.CacheBytes(c)
	return s
}

// Check refuses what cannot be meant, before any work, and changes nothing. Errors: *train.OptionError, those of the folder.
func (o *ConvertOptions) Check() error {
	if o.Train.Steps == 0 {
		return errors.Join(o.Healing.check(), runs.CheckFree(o.Out))
	}
	return errors.Join(o.Healing.check(), o.Train.Validate(), CheckOutput(o.Out, o.Resume))
}

// Convert converts the attention of a float model and heals it by distillation from what it was. When ctx is done while it heals
// it saves, so that Resume continues. Errors: *train.OptionError, *files.ForeignError that says what lies at Out, those of Fit.
func Convert(ctx context.Context, b backend.Backend, w *Workload, o ConvertOptions, p Progress) (_ *Converted, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	s, err := OpenStart(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	if s.Tokenizer.Hash() != w.Tokenizer.Hash() {
		return nil, fmt.Errorf("convert: %s has another tokenizer than %s; use its tokenizer.json", o.Dir, w.Name)
	}
	eval, err := w.Eval(task.Test, fitRows(w.Context))
	if err != nil {
		return nil, err
	}
	r := &Converted{Dir: o.Out, CacheBefore: cacheOf(s.Config)}
	moments, err := o.moments(ctx, w, s)
	if err != nil {
		return nil, err
	}
	converted, err := convert.Convert(s.weights, moments, o.Options)
	if err != nil {
		return nil, err
	}
	if r.Before, err = weightsLoss(ctx, b, s.weights, eval); err != nil {
		return nil, err
	}
	if r.Cut, err = weightsLoss(ctx, b, converted, eval); err != nil {
		return nil, err
	}
	text, err := json.Marshal(o.Options)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("convert "), text...))
	s.weights, s.Config, s.pruned = converted, converted.Config, hex.EncodeToString(sum[:])
	s.Masks = prune.MasksOf(s.Pruning, converted)
	r.Config, r.After, r.CacheAfter = s.Config, r.Cut, cacheOf(s.Config)
	if o.Train.Steps == 0 {
		return r, o.Healing.save(s, w)
	}
	fitted, err := o.heal(ctx, b, w, s, "heal", p)
	if err != nil {
		return nil, err
	}
	r.Dir, r.After = fitted.Dir, fitted.Loss
	return r, nil
}

// fitSequences are the training sequences that a fit looks at.
const fitSequences = 64

// moments measures what the heads read, where they are fitted.
func (o *ConvertOptions) moments(ctx context.Context, w *Workload, s *Start) (convert.Moments, error) {
	if o.KVHeads == 0 || o.Pool == convert.Mean {
		return nil, nil
	}
	rows, _, err := samples(ctx, w, min(fitSequences, MaxCalibration(w.Context)), o.Train.Seed)
	if err != nil {
		return nil, err
	}
	var sequences [][]int32
	for r := range rows.Rows {
		sequences = append(sequences, rows.Inputs[r*rows.Time:][:rows.Time])
	}
	return convert.Measure(ctx, s.weights, sequences, 1)
}
