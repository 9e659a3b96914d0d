package pipeline

import (
	"context"
	"errors"

	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/train"
)

// align gives fresh adapters of m the start that the gradient of the base asks for, where Start has it.
func (o *AdaptOptions) align(ctx context.Context, m *model.Model, base *Base, modules []arch.Module, source data.Source) error {
	if o.Start.Align == 0 {
		return nil
	}
	gradients, err := o.baseGradients(ctx, m, base, modules, source)
	if err != nil {
		return err
	}
	values := map[string][]float32{}
	for i, module := range modules {
		if err := o.Lora.Align(values, module, gradients[i], o.Start.gamma()); err != nil {
			return err
		}
	}
	for _, p := range m.Params.Added {
		if v := values[p.Name]; v != nil {
			if err := m.Backend().Upload(p.Value, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// later is a source whose steps begin later.
type later struct {
	data.Source
	by int64
}

func (l *later) Fill(b *data.Batch, step int64) error { return l.Source.Fill(b, step+l.by) }

// laterLabels are the labels of the source behind a later one.
type laterLabels struct {
	*train.Labels
	source *later
}

// Prepare implements [train.Objective].
func (l *laterLabels) Prepare(a *model.Activations, m train.Micro) error {
	m.Step += l.source.by
	return l.Labels.Prepare(a, m)
}

// baseGradients adds up the gradients of the weights of modules, unadapted, over the batches of the alignment, of the loss on the
// labels that the training has: drawn or shared, smoothed or not.
func (o *AdaptOptions) baseGradients(ctx context.Context, adapted *model.Model, base *Base, modules []arch.Module, source data.Source) (sums [][]float64, err error) {
	at := map[string]int{}
	for i, m := range modules {
		at[m.Weight().Name] = i
		sums = append(sums, make([]float64, m.Rows*m.Cols))
	}
	b := adapted.Backend()
	m, err := model.Build(b, base.Floats.Config, model.Options{
		Grads: true, Trained: func(tensor string) bool { _, is := at[tensor]; return is },
	})
	if err != nil {
		return nil, err
	}
	defer closing(m, &err)
	if err := m.Load(base.Floats); err != nil {
		return nil, err
	}
	options := train.Defaults()
	options.Steps, options.MicroBatches, options.Optimizer = 1, o.Train.MicroBatches, train.AdamW
	options.Labels, options.Smoothing = o.Train.Labels, o.Train.Smoothing
	shifted := &later{Source: source}
	labels := train.NewLabels(b, source, options)
	defer closing(labels, &err)
	t, err := train.New(m, shifted, &laterLabels{labels, shifted}, options)
	if err != nil {
		return nil, err
	}
	defer closing(t, &err)
	for shifted.by = range int64(o.Start.Align) {
		if err := errors.Join(ctx.Err(), t.Gradient(func() error { return addGradients(m, sums, at) })); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

func addGradients(m *model.Model, sums [][]float64, at map[string]int) error {
	for _, p := range m.Params.Trained() {
		g := make([]float32, p.Size())
		if err := m.Backend().Download(g, p.Grad); err != nil {
			return err
		}
		for i, v := range g {
			sums[at[p.Name]][i] += float64(v)
		}
	}
	return nil
}
