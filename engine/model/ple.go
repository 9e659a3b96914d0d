package model

import (
	"gorgonia.org/tensor"

	"mito/backend"
)

// perLayer is the per-layer embedding of a layer, a table of which a token reads one row (Gemma 3n,
// https://ai.google.dev/gemma/docs/gemma-3n):
//
//	x ← x + out(gate(n) ⊙ table[token])   n = norm2(x) of the stream that the MLP reads
//
// The gate has no activation of its own (the bilinear unit of arXiv:2002.05202), so that a device needs no exponential for it.
type perLayer struct {
	table     *Param // [V,E]
	gate, out Linear // [E,C], [C,E]
	place     int    // of its dropout mask
}

// perLayerState is what a pass keeps of it.
type perLayerState struct {
	row, gate, gated *tensor.Dense // [N,E] the tokens' rows, the gate, and their product
	states           struct{ gate, out State }
}

// perLayerGradients are the gradients inside it.
type perLayerGradients struct{ gated, row *tensor.Dense } // [N,E]

func (p *perLayer) build(mk *Maker, rows int, training bool) *perLayerState {
	if p == nil {
		return nil
	}
	width := p.gate.Module.Rows
	s := &perLayerState{row: mk.F32(rows, width), gate: mk.F32(rows, width), gated: mk.F32(rows, width)}
	s.states.gate, s.states.out = p.gate.Product.State(mk, rows, training), p.out.Product.State(mk, rows, training)
	return s
}

func (p *perLayer) buildGradients(mk *Maker, rows int) *perLayerGradients {
	if p == nil {
		return nil
	}
	width := p.gate.Module.Rows
	return &perLayerGradients{gated: mk.F32(rows, width), row: mk.F32(rows, width)}
}

// forward adds to the stream behind the MLP of layer i.
func (p *perLayer) forward(m *Model, a *Activations, i int, x *tensor.Dense) error {
	if p == nil {
		return nil
	}
	b, l := m.b, a.layers[i]
	s := l.ple
	return backend.First(
		p.lookup(m, a, i),
		p.gate.Product.Forward(b, s.gate, l.n2, s.states.gate),
		b.Mul(s.gated, s.gate, s.row),
		p.out.Product.Forward(b, l.branch, s.gated, s.states.out),
		a.dropout(b, l.branch, l.branch, p.place),
		b.Add(x, x, l.branch),
	)
}

// lookup sets the tokens' rows. Layers that see fewer tokens pick theirs from those of all.
func (p *perLayer) lookup(m *Model, a *Activations, i int) error {
	rows := a.layers[i].ple.row
	if a.inMiddle(i) {
		rows = a.middle.ple
	}
	var err error
	if m.rounds() {
		q, scale := m.rounding.Table(p.table)
		err = m.b.QEmbed(rows, q, scale, a.Inputs)
	} else {
		err = m.b.Embed(rows, p.table.Value, a.Inputs, false)
	}
	if a.inMiddle(i) {
		err = backend.First(err, m.b.Embed(a.layers[i].ple.row, rows, a.middle.kept, false))
	}
	return err
}

// backward adds to the gradients of its parameters and, where that is needed, to that of the row that the gate reads. dx is the
// gradient of the stream behind the layer.
func (p *perLayer) backward(m *Model, a *Activations, i int, dx *tensor.Dense, needed bool) error {
	if p == nil {
		return nil
	}
	b, l, g := m.b, a.layers[i], a.grads[i]
	s, d := l.ple, g.ple
	if err := a.dropout(b, l.branch, dx, p.place); err != nil {
		return err
	}
	dy := a.masked(l.branch, dx)
	gates := needed || p.gate.trained()
	if !gates && p.table.Grad == nil {
		return p.out.Product.Backward(b, nil, dy, s.gated, s.states.out, false)
	}
	if err := p.out.Product.Backward(b, d.gated, dy, s.gated, s.states.out, false); err != nil {
		return err
	}
	if p.table.Grad != nil {
		if err := backend.First(b.Mul(d.row, d.gated, s.gate), p.scatter(b, a, i, d.row)); err != nil {
			return err
		}
	}
	if !gates {
		return nil
	}
	dn := g.dn
	if !needed {
		dn = nil
	}
	return backend.First(b.Mul(d.gated, d.gated, s.row), p.gate.Product.Backward(b, dn, d.gated, l.n2, s.states.gate, true))
}

// scatter adds the gradients of the tokens' rows to that of the table.
func (p *perLayer) scatter(b backend.Backend, a *Activations, i int, rows *tensor.Dense) error {
	if !a.inMiddle(i) {
		return b.EmbedBackward(p.table.Grad, rows, a.Inputs)
	}
	all := a.middle.ple
	return backend.First(b.Zero(all), b.EmbedBackward(all, rows, a.middle.kept), b.EmbedBackward(p.table.Grad, all, a.Inputs))
}

func (s *perLayerState) list() []State {
	if s == nil {
		return nil
	}
	return []State{s.states.gate, s.states.out}
}
