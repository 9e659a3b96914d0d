package train

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"gorgonia.org/tensor"

	"mito/engine/arch"
	"mito/engine/checkpoint"
)

// savedRun is what a checkpoint holds of a run beside tensors.
type savedRun struct {
	Step      int         `json:"step"`
	Model     arch.Config `json:"model"`
	Options   Options     `json:"options"`
	Rows      int         `json:"rows,omitempty"`   // of a batch; 0 in runs of before it was saved
	Tokens    int         `json:"tokens,omitempty"` // of a row
	Source    string      `json:"source"`           // hash
	Objective string      `json:"objective"`        // hash
	Best      Best        `json:"best"`

	Unevaluated bool `json:"unevaluated,omitempty"` // stopped in the evaluation of its step

	Origin
	Arithmetic string      `json:"arithmetic,omitempty"` // as Arithmetic names it
	Extended   []Extension `json:"extended,omitempty"`
}

// Weights copies the model as it ships: the moving average where there is one.
func (t *Trainer) Weights() ([]checkpoint.Tensor, error) {
	return t.Model.Tensors(t.Flat())
}

// State copies everything that the run needs to go on: the raw parameters, the optimiser's moments, the moving
// average and the position. In a group every rank calls it.
func (t *Trainer) State() (*checkpoint.State, error) {
	if err := t.collect(); err != nil {
		return nil, err
	}
	rows, tokens := t.source.Shape()
	s := &checkpoint.State{Scalars: savedRun{
		Step: t.step, Model: t.Model.Config, Options: t.o, Rows: rows, Tokens: tokens, Source: t.source.Hash(),
		Objective: t.objective.Hash(), Best: t.best, Unevaluated: t.unevaluated,
		Origin: t.Origin, Arithmetic: Arithmetic(t.b.Info()), Extended: t.extended,
	}}
	for _, f := range t.flats() {
		tensors, err := t.Model.Trained(f.tensor)
		if err != nil {
			return nil, err
		}
		for _, tensor := range tensors {
			tensor.Name = f.prefix + tensor.Name
			s.Tensors = append(s.Tensors, tensor)
		}
	}
	masks, err := t.masks()
	s.Tensors = append(s.Tensors, masks...)
	return s, err
}

// Resume continues a saved run. It refuses a run of another model, other settings, data, teachers, evaluation or
// arithmetic: the result would be neither run's, and many of them have tensors of the same shapes.
func (t *Trainer) Resume(saved *checkpoint.SavedState) error { return t.resume(saved, false) }

// Extend is Resume for a run that may have been begun with fewer steps. The schedule is that of the new number from the
// step on at which the run stands, and the state says so. A constant rate, and WSD before it falls, give bitwise the run
// that had the larger number from its beginning; where the rate has fallen already, it rises again to what it is at that
// step of a run of the new length.
func (t *Trainer) Extend(saved *checkpoint.SavedState) error { return t.resume(saved, true) }

func (t *Trainer) resume(saved *checkpoint.SavedState, extend bool) error {
	var run savedRun
	if err := saved.Decode(&run); err != nil {
		return err
	}
	if extend && t.o.Steps > run.Options.Steps {
		run.Extended = append(run.Extended, Extension{Step: run.Step, Steps: run.Options.Steps})
		run.Options.Steps = t.o.Steps
	}
	if err := errors.Join(same("a model", run.Model, t.Model.Config), same("settings", run.Options.lasting(), t.o.lasting())); err != nil {
		return err
	}
	if rows, tokens := t.source.Shape(); run.Rows != 0 && (run.Rows != rows || run.Tokens != tokens) {
		return fmt.Errorf("train: cannot resume: the saved run has batches of %d sequences of %d tokens, now %d of %d; use the same, "+
			"or another output folder", run.Rows, run.Tokens, rows, tokens)
	}
	if err := t.checkOrigin(&run); err != nil {
		return err
	}
	if have := t.objective.Hash(); have != run.Objective {
		return fmt.Errorf("train: cannot resume: the saved run had other teachers or other settings of the distillation "+
			"(%.12s…) than this one (%.12s…)", run.Objective, have)
	}
	if have := t.source.Hash(); have != run.Source {
		return fmt.Errorf("train: cannot resume: the saved run was trained on other data (%.12s…) than this one (%.12s…)", run.Source, have)
	}
	if run.Step < 0 || run.Step > t.o.Steps {
		return fmt.Errorf("train: cannot resume: the saved run stands at step %d of %d", run.Step, t.o.Steps)
	}
	masks, err := t.savedMasks(saved.Tensors)
	if err != nil {
		return err
	}
	for _, f := range t.flats() {
		if err := t.Model.ReadTrained(saved.Tensors, f.prefix, f.tensor); err != nil {
			return fmt.Errorf("train: cannot resume: %w", err)
		}
	}
	for _, m := range masks {
		if err := t.Model.SetMask(m.param, m.mask); err != nil {
			return fmt.Errorf("train: cannot resume: %w", err)
		}
	}
	t.step, t.best, t.unevaluated, t.extended = run.Step, run.Best, run.Unevaluated, run.Extended
	return nil
}

// same refuses a saved struct that differs from this run's, and lists the fields that do. Fields are compared as they
// are written: an empty list is none.
func same[T any](what string, saved, now T) error {
	a, b := reflect.ValueOf(saved), reflect.ValueOf(now)
	var fields []string
	for i := range a.NumField() {
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		if reflect.DeepEqual(x, y) || a.Field(i).Kind() == reflect.Slice && a.Field(i).Len() == 0 && b.Field(i).Len() == 0 {
			continue
		}
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		fields = append(fields, fmt.Sprintf("%s %v, now %v", name, x, y))
	}
	if len(fields) == 0 {
		return nil
	}
	return fmt.Errorf("train: cannot resume: the saved run has %s with %s; use the same, or another output folder",
		what, strings.Join(fields, "; "))
}

// flat is one tensor of the run's state with the layout of the parameters.
type flat struct {
	prefix string
	tensor *tensor.Dense
}

func (t *Trainer) flats() []flat {
	f := []flat{{"param.", t.Model.Params.Value}, {"first.", t.opt.first}, {"second.", t.opt.second}}
	if t.opt.ema != nil {
		f = append(f, flat{"ema.", t.opt.ema})
	}
	return f
}
