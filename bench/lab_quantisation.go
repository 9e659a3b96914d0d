package bench

import (
	"mito/engine/compress/qat"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/train"
)

// refreshed is an objective of a training that rounds: codes are made before every pass.
type refreshed struct {
	train.Objective
	r *qat.Rounding
	m *model.Model
}

func (o refreshed) Prepare(a *model.Activations, m train.Micro) error {
	if err := o.r.Refresh(o.m); err != nil {
		return err
	}
	return o.Objective.Prepare(a, m)
}

// labQuantisation rounds the base to codes of several widths, and trains each for a tenth of the base's steps with the student's
// arithmetic, on what the base says. results/quantisation.md has a smaller base over three seeds.
func labQuantisation(m *meter) error {
	corpus, base, loss, err := m.labBase()
	if err != nil {
		return err
	}
	m.value("quantisation/base, loss", unitNats, loss)
	for _, bits := range []string{"8", "6", "4", "ternary"} {
		rules, err := quant.ParseRules(bits)
		if err != nil {
			return err
		}
		if err := labRounded(m, corpus, base, loss, "quantisation/weights of "+bits+" bits, ", rules); err != nil {
			return err
		}
	}
	return nil
}

func labRounded(m *meter, corpus *text, base *model.Weights, loss float64, name string, rules []quant.Rule) (err error) {
	r, err := qat.New(base.Config, rules)
	if err != nil {
		return err
	}
	o := train.Defaults()
	o.Steps, o.LR, o.MuonLR, o.Decay = m.steps(labSteps/10), 1e-3, 4e-3, 1
	taught := taughtBy(base, o)
	c, err := enter(m.ctx, entry{
		text: corpus, config: base.Config, rows: labRows, time: labTime, start: base, o: o, build: model.Options{Rounding: r},
		objective: func(x *contender, source data.Source) (train.Objective, error) {
			d, err := taught(x, source)
			return refreshed{d, r, x.model}, err
		},
	})
	if err != nil {
		return err
	}
	defer closeInto(c, &err)
	c.trainer.Gradients = func() error { return r.Finish(c.model) }
	if err := r.Begin(c.model, c.trainer.Put); err != nil {
		return err
	}
	rounded, err := heldLoss(m.ctx, c.model, c.held)
	if err != nil {
		return err
	}
	m.note(name)
	if err := race(m.ctx, []int{o.Steps}, c); err != nil {
		return err
	}
	if err := r.Refresh(c.model); err != nil {
		return err
	}
	trained, err := c.loss()
	if err != nil {
		return err
	}
	w, report, err := r.Student(c.model, c.model.Params.Value)
	if err != nil {
		return err
	}
	m.value(name+"loss rounded against the base", unitTimes, rounded/loss)
	m.value(name+"loss trained so against the base", unitTimes, trained/loss)
	m.value(name+"share of the base's training tokens", unitShare, float64(o.Steps)/float64(m.steps(labSteps)))
	m.value(name+"bytes on disk against INT8", unitTimes, float64(quant.StoredBytes(w, report))/float64(w.Bytes()))
	return nil
}

func closeInto(c *contender, err *error) {
	if e := c.Close(); *err == nil {
		*err = e
	}
}
