package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Hooks lets the caller watch and save. Each may be nil.
type Hooks struct {
	// Before is called before a step, counted from 0. It may change masks (model.Model.SetMask) and the weights that go with
	// them, by rules that follow from the step, the weights, the masks and Trainer.Gradient alone: a resumed run has no more.
	Before func(step int) error
	Step   func(StepResult) error // every LogEvery steps
	// Eval evaluates the model as it will ship: with the moving average in place where there is one. It returns
	// the loss that decides which checkpoint is best. It may end with the error of Run's context.
	Eval func(step int) (loss float64, err error)
	// Save stores the model as it will ship; best says that the last evaluation was the best so far.
	Save func(best bool) error
}

// Run trains until the last step, ctx is done, or something fails. When ctx is done it saves and returns ctx's
// error.
func (t *Trainer) Run(ctx context.Context, h Hooks) error {
	start, last, lastTokens := time.Now(), time.Now(), int64(-1)
	if t.unevaluated {
		if err := t.evaluate(ctx, h); err != nil {
			return err
		}
		if err := t.save(h, false); err != nil {
			return err
		}
	}
	for t.step < t.o.Steps {
		if err := t.agree(ctx.Err()); err != nil {
			return t.stop(h, err)
		}
		due := func(every int) bool { return every > 0 && (t.step+1)%every == 0 || t.step+1 == t.o.Steps }
		log, eval, save := due(t.o.LogEvery) || t.step == 0, due(t.o.EvalEvery), due(t.o.SaveEvery)
		if h.Before != nil {
			if err := h.Before(t.step); err != nil {
				return err
			}
		}
		r, err := t.Step(log || eval || save) // what diverged is neither evaluated nor saved
		if err != nil {
			return err
		}
		if log {
			now := time.Now()
			r.Seconds = now.Sub(start).Seconds()
			if lastTokens >= 0 {
				r.TokensPS = float64(r.Tokens-lastTokens) / now.Sub(last).Seconds()
			}
			last, lastTokens = now, r.Tokens
			if h.Step != nil {
				if err := h.Step(r); err != nil {
					return err
				}
			}
		}
		if eval {
			if err := t.evaluate(ctx, h); err != nil {
				return err
			}
		}
		if save {
			if err := t.save(h, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// StoppedError says that a run was ended before its last step, and is saved. Of several ranks all return it.
type StoppedError struct {
	Step, Steps int
	Cause       error // of a context, or ErrStopped
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("train: stopped after step %d of %d: %v", e.Step, e.Steps, e.Cause)
}

// Unwrap gives the cause.
func (e *StoppedError) Unwrap() error { return e.Cause }

// stop saves a run that cause ends. It returns a *StoppedError only where that succeeded, and on every rank when the one that saves is
// done: a rank that left earlier would end the others.
func (t *Trainer) stop(h Hooks, cause error) error {
	here := t.save(h, false)
	err := t.agree(here)
	if errors.Is(err, ErrStopped) {
		err = errors.New("another rank failed")
	}
	switch {
	case here != nil:
		return fmt.Errorf("train: stopped after step %d of %d, and not saved: %w", t.step, t.o.Steps, err)
	case err != nil:
		return fmt.Errorf("train: stopped after step %d of %d, and perhaps not saved: %w", t.step, t.o.Steps, err)
	}
	return &StoppedError{t.step, t.o.Steps, cause}
}

// evaluate evaluates the step that was done. When ctx ends that, the run is saved as one whose step has still to be
// evaluated: which checkpoint is the best must not depend on an interruption.
func (t *Trainer) evaluate(ctx context.Context, h Hooks) error {
	t.unevaluated = true
	err := t.eval(h)
	var cause error
	if e := ctx.Err(); e != nil && errors.Is(err, e) {
		cause = e
	} else if errors.Is(err, ErrStopped) {
		cause = ErrStopped
	}
	if cause == nil && err != nil {
		return err
	}
	if cause = t.agree(cause); cause != nil {
		return t.stop(h, cause)
	}
	t.unevaluated = false
	return nil
}

func (t *Trainer) eval(h Hooks) error {
	if h.Eval == nil {
		return nil
	}
	var loss float64
	if err := t.opt.averaged(func() (err error) {
		loss, err = h.Eval(t.step)
		return err
	}); err != nil {
		return err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return t.checkFinite(StepResult{Step: t.step, Loss: loss})
	}
	if t.best.Step != 0 && loss >= t.best.Loss {
		return nil
	}
	t.best = Best{Step: t.step, Loss: loss}
	return t.save(h, true)
}

func (t *Trainer) save(h Hooks, best bool) error {
	if h.Save == nil {
		return nil
	}
	return h.Save(best)
}
