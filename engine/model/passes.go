package model

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/blocks"
)

// ZeroGrad clears the gradients, before the first Backward of a step.
func (m *Model) ZeroGrad() error {
	if err := m.b.Zero(m.Params.Grad); err != nil || m.head.Weight.Grad == nil || !m.Config.TieEmbeddings {
		return err
	}
	return m.b.Zero(m.head.Weight.Grad)
}

// FinishGrad completes the gradients, after the last Backward of a step: it adds what belongs together and clears what a
// mask hides.
func (m *Model) FinishGrad() error {
	if m.Config.TieEmbeddings && m.embed.Grad != nil {
		if err := m.b.Add(m.embed.Grad, m.embed.Grad, m.head.Weight.Grad); err != nil {
			return err
		}
	}
	for _, p := range m.Params.List {
		if p.Mask == nil || p.Grad == nil {
			continue
		}
		if err := m.b.Mul(p.Grad, p.Grad, p.Mask); err != nil {
			return err
		}
	}
	return nil
}

// SetMask says which elements of a masked parameter live: 1, and which are zero and stay so: 0. It clears the dead ones at
// once and advances the epoch.
func (m *Model) SetMask(p *Param, mask []float32) error {
	if p.Mask == nil {
		return fmt.Errorf("model: %s was built without a mask", p.Name)
	}
	m.epoch++
	p.Live = nil
	if len(p.Shape) == 2 {
		p.Live = blocks.Of(mask, p.Shape[0], p.Shape[1])
	}
	return backend.First(m.b.Upload(p.Mask, mask), m.b.Mul(p.Value, p.Value, p.Mask))
}

// ApplyMasks clears the masked elements of a flat tensor with the layout of what is trained, such as the parameters after
// an update or their average.
func (m *Model) ApplyMasks(flat *tensor.Dense) error {
	for _, p := range m.Params.List {
		if p.Mask == nil || p.Frozen {
			continue
		}
		v := p.Value
		if flat != m.Params.Value {
			var err error
			if v, err = m.b.View(flat, p.offset, p.Shape...); err != nil {
				return err
			}
		}
		if err := m.b.Mul(v, v, p.Mask); err != nil {
			return err
		}
	}
	return nil
}

// Forward computes a.Logits from a.Inputs and a.Positions or, where the batch begins at a later layer, from the residual
// stream before that.
func (m *Model) Forward(a *Activations) error {
	if err := m.ForwardTo(a, len(m.blocks)); err != nil {
		return err
	}
	if err := backend.First(
		m.norm.Forward(m.b, a.final, a.x[len(m.blocks)], a.finalStats),
		m.head.Product.Forward(m.b, a.Logits, a.final, a.headState),
	); err != nil || m.aux == nil {
		return err
	}
	return m.aux.Product.Forward(m.b, a.AuxLogits, a.final, nil)
}

// ForwardTo is the part of Forward that computes a.Hidden(layer), and no more.
func (m *Model) ForwardTo(a *Activations, layer int) error {
	for _, s := range a.placed {
		s.Place(a)
	}
	if a.shape.From == 0 {
		if err := m.embedForward(a); err != nil {
			return err
		}
	}
	for i := a.shape.From; i < layer; i++ {
		if err := m.enter(a, i); err != nil {
			return err
		}
		if err := m.blocks[i].Forward(m, a, i, a.output(i), a.input(i)); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if err := m.leave(a, i+1); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) embedForward(a *Activations) error {
	if m.rounds() {
		return m.roundedEmbed(a)
	}
	if err := m.b.Embed(a.x[0], m.embed.Value, a.Inputs, false); err != nil {
		return err
	}
	if m.positions != nil {
		if err := m.b.Embed(a.x[0], m.positions.Value, a.Positions, true); err != nil {
			return err
		}
	}
	return a.dropout(m.b, a.x[0], a.x[0], 0)
}

// input is the stream that layer i reads.
func (a *Activations) input(i int) *tensor.Dense {
	if a.middle != nil && i == a.middle.From {
		return a.middle.enter
	}
	return a.x[i]
}

// output is the stream that layer i writes.
func (a *Activations) output(i int) *tensor.Dense {
	if a.middle != nil && i+1 == a.middle.To {
		return a.middle.leave
	}
	return a.x[i+1]
}

// enter picks the rows that go through the middle, where that begins at layer i.
func (m *Model) enter(a *Activations, i int) error {
	if d := a.middle; d != nil && d.From == i {
		return m.b.Embed(d.enter, a.x[i], d.kept, false)
	}
	return nil
}

// leave puts the rows that went through the middle back among those that passed by, where that ends before layer i.
func (m *Model) leave(a *Activations, i int) error {
	d := a.middle
	if d == nil || d.To != i {
		return nil
	}
	return backend.First(
		m.b.Embed(d.passed, d.zeroOne, d.others, false),
		m.b.Mul(a.x[i], a.x[d.From], d.passed),
		m.b.EmbedBackward(a.x[i], d.leave, d.kept),
	)
}

// Backward adds to the gradients of all trained parameters what follows from a.DLogits, a.DAuxLogits and a.DHidden, after
// Forward on the same a. It goes no deeper than there is something to train. A step is ZeroGrad, Forward and Backward for
// every micro-batch, then FinishGrad.
func (m *Model) Backward(a *Activations) error {
	b, last := m.b, len(m.blocks)
	if err := m.head.Product.Backward(b, a.dx, a.DLogits, a.final, a.headState, false); err != nil {
		return err
	}
	if m.aux != nil {
		if err := m.aux.Product.Backward(b, a.dx, a.DAuxLogits, a.final, nil, true); err != nil {
			return err
		}
	}
	if err := m.norm.Backward(b, a.dx, a.dx, a.x[last], a.finalStats, false); err != nil {
		return err
	}
	end := max(a.shape.From, m.lowest)
	for i := last; ; i-- {
		if err := m.tap(a, i); err != nil || i <= end {
			return backend.First(err, m.embedBackward(a, end))
		}
		if err := m.blockBackward(a, i-1); err != nil {
			return fmt.Errorf("layer %d: %w", i-1, err)
		}
	}
}

// tap adds what an objective gave to the gradient of the stream before layer i.
func (m *Model) tap(a *Activations, i int) error {
	if g := a.taps[i]; g != nil {
		return m.b.Add(a.dx, a.dx, g)
	}
	return nil
}

// blockBackward turns the gradient of the stream behind layer i into that of the stream before it.
func (m *Model) blockBackward(a *Activations, i int) error {
	d := a.middle
	if d == nil || !a.inMiddle(i) {
		return m.blocks[i].Backward(m, a, i, a.dx, a.input(i), m.needed(a, i))
	}
	if i+1 == d.To {
		if err := backend.First(m.b.Embed(d.dx, a.dx, d.kept, false), m.b.Mul(a.dx, a.dx, d.passed)); err != nil {
			return err
		}
	}
	if err := m.blocks[i].Backward(m, a, i, d.dx, a.input(i), m.needed(a, i)); err != nil {
		return err
	}
	if i == d.From {
		return m.b.EmbedBackward(a.dx, d.dx, d.kept)
	}
	return nil
}

// needed says that something reads the gradient of the stream before layer i: a layer below, the tables, or an objective's
// tensors, which are few.
func (m *Model) needed(a *Activations, i int) bool {
	return i > max(a.shape.From, m.lowest) || i == 0 && (m.embed.Grad != nil || m.positions != nil && m.positions.Grad != nil)
}

// embedBackward adds to the gradients of the tables, where a backward pass ends there.
func (m *Model) embedBackward(a *Activations, end int) error {
	if end > 0 || m.embed.Grad == nil && (m.positions == nil || m.positions.Grad == nil) {
		return nil
	}
	if err := a.dropout(m.b, a.dx, a.dx, 0); err != nil {
		return err
	}
	if m.embed.Grad != nil {
		if err := m.b.EmbedBackward(m.embed.Grad, a.dx, a.Inputs); err != nil {
			return err
		}
	}
	if m.positions == nil || m.positions.Grad == nil {
		return nil
	}
	return m.b.EmbedBackward(m.positions.Grad, a.dx, a.Positions)
}

// Keep picks the rows of the batch that the layers in the middle see: as many of each sequence as the batch was built for, in
// ascending order, counted over the whole batch [B,T']. Positions count from 0 in every sequence. Errors: *BatchError.
func (m *Model) Keep(a *Activations, kept []int32) error {
	d := a.middle
	if d == nil || len(kept) != a.Batch*d.Time {
		return &BatchError{"kept", fmt.Sprintf("%d rows", len(kept)), "those of a batch with layers in the middle"}
	}
	positions, others := make([]int32, len(kept)), make([]int32, a.Batch*a.Time)
	for i := range others {
		others[i] = 1
	}
	for i, row := range kept {
		first := int32(i / d.Time * a.Time) // of the sequence
		if row < first || row >= first+int32(a.Time) || i%d.Time > 0 && row <= kept[i-1] {
			return &BatchError{"kept", fmt.Sprintf("row %d in place %d", row, i),
				fmt.Sprintf("%d ascending rows of each sequence of %d", d.Time, a.Time)}
		}
		positions[i], others[row] = row-first, 0
	}
	width := m.Config.HiddenSize
	err := backend.First(
		m.b.Upload(d.kept, kept), m.b.Upload(d.positions, positions), m.b.Upload(d.others, others),
		m.b.Upload(d.zeroOne, append(make([]float32, width), ones(width)...)),
	)
	for window, t := range d.starts {
		err = backend.First(err, m.b.Upload(t, starts(positions, d.Time, window)))
	}
	return err
}

// starts finds for each row the first of its sequence that a window over positions shows it.
func starts(positions []int32, time, window int) []int32 {
	first := make([]int32, len(positions))
	for i := range positions {
		row := i - i%time
		if i > row {
			first[i] = first[i-1]
		}
		for int(positions[row+int(first[i])]) <= int(positions[i])-window {
			first[i]++
		}
	}
	return first
}

// Gradients are the tensors that a backward pass adds to: that of all that is trained, and a tied head's own. The Grad of each
// parameter is a part of one.
func (m *Model) Gradients() []*tensor.Dense {
	list := []*tensor.Dense{m.Params.Grad}
	if m.Config.TieEmbeddings && m.head.Weight.Grad != nil {
		list = append(list, m.head.Weight.Grad)
	}
	return list
}
