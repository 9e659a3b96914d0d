package train

import (
	"fmt"

	"mito/backend"
)

// Gradient computes the gradient of the batch of the step that comes next, also where masks hide weights, and calls f while it lies
// in the parameters' Grad. It changes nothing that the step computes. It is for Hooks.Before.
func (t *Trainer) Gradient(f func() error) error {
	whole := func(on bool) {
		for _, p := range t.Model.Params.Trained() {
			p.Whole = on
		}
	}
	whole(true)
	defer whole(false)
	err := t.accumulate(func(m *microBatch) error { return m.pass() }, func(*microBatch, float64) error { return nil })
	if err == nil && t.Gradients != nil {
		err = t.Gradients()
	}
	if err == nil {
		err = f()
	}
	if err != nil {
		return fmt.Errorf("train: gradient before step %d: %w", t.step+1, err)
	}
	return nil
}

// accumulate adds up the gradients of the step's batch, pass by pass; after is called behind each, with the weight of all targets.
func (t *Trainer) accumulate(pass func(m *microBatch) error, after func(m *microBatch, weight float64) error) error {
	if err := t.stage(); err != nil {
		return err
	}
	weight, err := t.fill()
	if err != nil {
		return err
	}
	if err := backend.First(t.Model.ZeroGrad(), t.opt.prepare(t.step, weight)); err != nil {
		return err
	}
	for i := range t.micro {
		m := &t.micro[i]
		m.Step = int64(t.step)
		if err := t.load(m); err != nil {
			return err
		}
		if err := t.objective.Prepare(m.a, m.Micro); err != nil {
			return err
		}
		if err := t.begin(m); err != nil {
			return err
		}
		if err := pass(m); err != nil {
			return err
		}
		if err := after(m, weight); err != nil {
			return err
		}
	}
	return t.summed()
}
