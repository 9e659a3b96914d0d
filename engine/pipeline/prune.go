package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/compress/prune"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/train"
)

// PruneOptions describe the pruning of a float model and the training that recovers from it.
type PruneOptions struct {
	prune.Options
	Schedule string // prune.OneShot, or prune.Cubic for a sparsity that grows in the first half of the steps
	Rows     int    // training sequences that scores are computed from

	Healing // the recovery
}

// Pruned is the result of a pruning.
type Pruned struct {
	Dir     string // model folder
	Config  arch.Config
	Record  prune.Record
	Live    int64     // parameters that are not masked
	Before  data.Loss // of the float model, on the split that judges
	Cut     data.Loss // pruned, before the recovery; with a cubic schedule it is that of the float model
	After   data.Loss
	Trained int64 // parameters that the recovery trained
}

// gradual is a pruning that goes on while a run trains.
type gradual struct {
	prune.Options
	ramp prune.Ramp
	cal  *prune.Calibration
}

// Prune prunes a model and recovers what that cost. When ctx is done in the recovery it saves, so that Resume continues. Errors:
// *train.OptionError, *files.ForeignError that says what lies at Out, quant.ErrOverlap, those of Fit.
func Prune(ctx context.Context, b backend.Backend, w *Workload, o PruneOptions, p Progress) (_ *Pruned, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	s, err := OpenStart(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	if s.Tokenizer.Hash() != w.Tokenizer.Hash() {
		return nil, fmt.Errorf("prune: %s has another tokenizer than %s; use its tokenizer.json", o.Dir, w.Name)
	}
	r := &Pruned{Dir: o.Out, Record: prune.Record{Options: o.Options, Schedule: o.Schedule}}
	eval, err := w.Eval(task.Test, fitRows(w.Context))
	if err != nil {
		return nil, err
	}
	cal, err := o.calibration(ctx, w, &r.Record)
	if err != nil {
		return nil, err
	}
	if r.Before, err = weightsLoss(ctx, b, s.weights, eval); err != nil {
		return nil, err
	}
	err = stage(p, "prune", 0, func() (string, error) {
		if err := o.prune(ctx, b, s, cal, &r.Record); err != nil {
			return "", err
		}
		r.Cut, err = weightsLoss(ctx, b, s.weights, eval)
		return fmt.Sprintf("loss %.4f, before %.4f", r.Cut.PerToken(), r.Before.PerToken()), err
	})
	if err != nil {
		return nil, err
	}
	r.Config, r.After = s.Config, r.Cut
	r.Live = s.Masks.Live(r.Config.Params())
	if o.Train.Steps == 0 {
		return r, o.Healing.save(s, w)
	}
	fitted, err := o.heal(ctx, b, w, s, "recover", p)
	if err != nil {
		return nil, err
	}
	r.Dir, r.After = fitted.Dir, fitted.Loss
	if s.gradual != nil { // the masks are those of the last update
		if s, err = OpenStart(r.Dir); err != nil {
			return nil, err
		}
		r.Record.Reached, r.Live = s.Masks.Sparsity(), s.Masks.Live(r.Config.Params())
	}
	r.Trained = r.Live
	return r, nil
}

// Check refuses what cannot be meant, before any work, and changes nothing. Errors: *train.OptionError, those of the folder.
func (o *PruneOptions) Check() error {
	if err := o.Validate(); err != nil {
		return err
	}
	switch {
	case o.Schedule != prune.OneShot && o.Schedule != prune.Cubic:
		return &train.OptionError{Field: "schedule", Got: fmt.Sprintf("%q", o.Schedule), Want: prune.OneShot + " or " + prune.Cubic}
	case o.Schedule == prune.Cubic && o.Kind != prune.Unstructured && o.Kind != prune.Block4x8:
		return &train.OptionError{Field: "schedule", Got: o.Schedule, Want: fmt.Sprintf("%s with kind %s: %[1]s raises a sparsity of unstructured or block4x8", prune.OneShot, o.Kind)}
	case o.Schedule == prune.Cubic && o.Train.Steps == 0:
		return &train.OptionError{Field: "schedule", Got: o.Schedule, Want: prune.OneShot + " without steps of recovery"}
	case o.Looks() && o.Rows < 1:
		return &train.OptionError{Field: "calibrate", Got: o.Rows, Want: "1 or more sequences with a score or a spread that looks at them"}
	case o.Train.Steps == 0:
		return errors.Join(o.Healing.check(), runs.CheckFree(o.Out))
	}
	return errors.Join(o.Train.Validate(), CheckOutput(o.Out, o.Resume))
}

// calibration draws the training sequences that scores look at, and refuses those that the model is judged by.
func (o *PruneOptions) calibration(ctx context.Context, w *Workload, r *prune.Record) (*prune.Calibration, error) {
	if !o.Looks() {
		return nil, nil
	}
	rows, evaluation, err := samples(ctx, w, o.Rows, o.Train.Seed)
	if err != nil {
		return nil, err
	}
	cal := prune.NewCalibration(*rows)
	r.Calibration, err = cal.Record(evaluation)
	return cal, err
}

// prune makes of s the model that is saved, or that the recovery begins with.
func (o *PruneOptions) prune(ctx context.Context, b backend.Backend, s *Start, cal *prune.Calibration, r *prune.Record) error {
	before := s.Config.Params()
	switch {
	case !o.Kind.Masks():
		w, err := prune.Structured(ctx, b, s.weights, cal, o.Options)
		if err != nil {
			return err
		}
		s.weights, s.Config = w, w.Config
		s.Masks = prune.MasksOf(s.Pruning, w)
		r.Reached = 1 - float64(w.Config.Params())/float64(before)
	case o.Schedule == prune.Cubic:
		found, err := o.Targets(s.Config)
		if err != nil {
			return err
		}
		from := s.Masks.Sparsity()
		if from >= o.Sparsity {
			return &train.OptionError{Field: "sparsity", Got: o.Sparsity, Want: fmt.Sprintf("more than the %.3g that the model has already", from)}
		}
		masks := maps.Clone(s.Masks)
		if masks == nil {
			masks = prune.Masks{}
		}
		for _, m := range found {
			if name := m.Weight().Name; masks[name] == nil {
				masks[name] = prune.Alive(m)
			}
		}
		s.Masks = masks
		s.gradual = &gradual{o.Options, prune.NewRamp(from, o.Sparsity, o.Train.Steps), cal}
		r.Reached = o.Sparsity
	default:
		w, masks, err := prune.Mask(ctx, b, s.weights, s.Masks, cal, o.Options)
		if err != nil {
			return err
		}
		s.weights, s.Masks = w, masks
		r.Reached = masks.Sparsity()
	}
	s.Pruning = append(s.Pruning[:len(s.Pruning):len(s.Pruning)], *r)
	return s.seal(r)
}

// seal makes the hash that ties a run to how its beginning was pruned.
func (s *Start) seal(r *prune.Record) error {
	var ramp *prune.Ramp
	if s.gradual != nil {
		ramp = &s.gradual.ramp
	}
	text, err := json.Marshal(struct {
		*prune.Record
		Ramp *prune.Ramp
	}{r, ramp})
	sum := sha256.Sum256(text)
	s.pruned = hex.EncodeToString(sum[:])
	return err
}

// prune renews the masks of a run that prunes as it trains; nil for any other.
func (f *fit) prune(ctx context.Context) func(step int) error {
	switch {
	case f.Start == nil || f.Start.gradual == nil && f.Start.sparse == nil:
		return nil
	case f.Start.sparse != nil:
		return f.Start.sparse.Before(ctx, f.t, f.Train.Steps, f.Train.Seed)
	}
	g := f.Start.gradual
	return func(step int) error {
		sparsity, due := g.ramp.At(step)
		if !due {
			return nil
		}
		o := g.Options
		o.Sparsity = sparsity
		return prune.Renew(ctx, f.t.Model, g.cal, o)
	}
}

// weightsLoss evaluates weights on a backend.
func weightsLoss(ctx context.Context, b backend.Backend, w *model.Weights, eval data.Eval) (l data.Loss, err error) {
	m, err := model.Build(b, w.Config, model.Options{})
	if err != nil {
		return l, err
	}
	defer closing(m, &err)
	if err := prune.Load(m, w, nil); err != nil {
		return l, err
	}
	e, err := newEvaluator(m, eval)
	if err != nil {
		return l, err
	}
	defer closing(e, &err)
	return e.loss(ctx)
}
