package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"mito/backend"
	"mito/engine/checkpoint"
	"mito/engine/compress/qat"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/task"
	"mito/engine/train"
)

// Aware has a run end with steps whose passes compute what the INT8 student computes; the student is what the run makes.
type Aware struct {
	Share float64      // of the steps, the last; 1 is all
	Rules []quant.Rule // bits of the weights
}

// Check refuses a share that cannot be. Errors: *train.OptionError.
func (a *Aware) Check() error {
	if a != nil && !(a.Share > 0 && a.Share <= 1) {
		return &train.OptionError{Field: "qat", Got: a.Share, Want: "more than 0, and at most 1: the share of the steps"}
	}
	return nil
}

// begin is the step, counted from 0, at which the rounding begins.
func (a *Aware) begin(steps int) int {
	return steps - max(1, int(math.Round(a.Share*float64(steps))))
}

// aware is the rounding of a run; nil of a run without.
type aware struct {
	*qat.Rounding
	begin int
}

// aware makes the rounding of the run's model.
func (o *FitOptions) aware() (*aware, error) {
	if o.Aware == nil {
		return nil, nil
	}
	if err := o.Aware.Check(); err != nil {
		return nil, err
	}
	r, err := qat.New(o.Config, o.Aware.Rules)
	if err != nil {
		return nil, err
	}
	return &aware{r, o.Aware.begin(o.Train.Steps)}, nil
}

// name is what ties a run to its rounding.
func (a *aware) name() string {
	if a == nil {
		return ""
	}
	text := fmt.Sprintf("from step %d on", a.begin+1)
	bits := map[int]int{}
	for _, n := range a.Bits() {
		bits[n]++
	}
	if len(bits) > 1 || bits[8] == 0 {
		all, _ := json.Marshal(a.Bits()) // keys come out sorted
		text += " to " + string(all)
	}
	return text
}

// before prepares a step: it begins the rounding, or makes the codes of the weights as they are.
func (f *fit) before(ctx context.Context) func(step int) error {
	prune := f.prune(ctx)
	if f.aware == nil {
		return prune
	}
	return func(step int) error {
		if prune != nil {
			if err := prune(step); err != nil {
				return err
			}
		}
		m := f.t.Model
		switch {
		case step < f.aware.begin:
			return nil
		case step == f.aware.begin:
			f.t.ForgetBest()
			return f.aware.Begin(m, f.t.Put)
		case !f.aware.On(): // resumed
			return f.aware.Continue(m)
		}
		return f.aware.Refresh(m)
	}
}

// refresh makes the evaluation of a run that rounds see the weights as they are.
func (f *fit) refresh() error {
	switch {
	case f.aware == nil || f.t.Steps() <= f.aware.begin:
		return nil
	case !f.aware.On(): // resumed after its last step
		return f.aware.Continue(f.t.Model)
	}
	return f.aware.Refresh(f.t.Model)
}

// ships says that what the run saves is the student, not the float model.
func (f *fit) ships() bool { return f.aware != nil && f.t.Steps() > f.aware.begin }

// storeStudent writes the INT8 student of the run.
func (f *fit) storeStudent(dir string) error {
	w, r, err := f.aware.Student(f.t.Model, f.t.Flat())
	if err != nil {
		return err
	}
	if s := f.Start; s != nil && len(s.Pruning) > 0 {
		if r.Pruning, err = json.Marshal(s.Pruning); err != nil {
			return err
		}
		r.Blocks = s.Pruning.Blocks()
	}
	c, err := quant.Contents(w, r)
	if err != nil {
		return err
	}
	c.SaveTokenizer = f.w.Tokenizer.Save
	f.report = r
	return checkpoint.Save(dir, c)
}

// AwareOptions describe the making of an INT8 student by training, from a float model.
type AwareOptions struct {
	Dir, Out string // the float model; a folder for the run
	Resume   bool
	Rules    []quant.Rule
	Train    train.Options
	Batch    int
	Distill  distill.Options
}

// QuantizeAware trains the INT8 student of a float model on what that says; all steps round. It returns the float model's loss
// too. Errors: as of Fit.
func QuantizeAware(ctx context.Context, b backend.Backend, w *Workload, o AwareOptions, p Progress) (_ *Fitted, before data.Loss, err error) {
	s, err := OpenStart(o.Dir)
	if err != nil {
		return nil, before, err
	}
	teacher, err := OpenTeacher(b, o.Dir)
	if err != nil {
		return nil, before, err
	}
	defer closing(teacher, &err)
	eval, err := w.Eval(task.Test, fitRows(w.Context))
	if err != nil {
		return nil, before, err
	}
	if before, err = weightsLoss(ctx, b, s.weights, eval); err != nil {
		return nil, before, err
	}
	made, err := Fit(ctx, b, w, FitOptions{
		Name: "quantize", Dir: o.Out, Resume: o.Resume, Config: s.Config, Start: s, Train: o.Train, Rows: o.Batch,
		Split: task.Train, Judge: task.Test, Teachers: []*Teacher{teacher}, Distill: o.Distill, Aware: &Aware{Share: 1, Rules: slices.Clone(o.Rules)},
	}, p)
	return made, before, err
}
