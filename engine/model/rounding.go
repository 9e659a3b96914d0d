package model

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Rounding has passes compute what the INT8 student of the model computes (engine/student/SPEC.md), bit for bit, while gradients
// pass as if nothing were rounded: straight through (arXiv:1308.3432). What a matrix is rounded to is its own matter; norms, attention
// and lookups are the backend's operations of the student.
type Rounding interface {
	// Declare is told each matrix that ships, before anything is made of it. own takes the parameters that rounding it has.
	Declare(m arch.Module, w *Param, own *Declarer)
	// Allocate cuts what lies beside the model.
	Allocate(mk *Maker)
	// On says that passes round. Whoever changes that calls Model.Changed.
	On() bool
	// Product multiplies by the matrix w that was declared. The gradient goes to l's weight, which is another parameter where a
	// tied embedding is the head.
	Product(l *Linear, w *Param) Product
	// Table is a declared matrix as it is looked up.
	Table(w *Param) (q, scale *tensor.Dense)
	// Rotary gives the student's tables of RoPE.
	Rotary(c arch.Config) (cos, sin []float32)
}

// rounds says that passes round now.
func (m *Model) rounds() bool { return m.rounding != nil && m.rounding.On() }

// declareRounded tells a rounding what there is.
func (m *Model) declareRounded(all map[arch.Place]declared) {
	for _, mod := range m.Config.Modules() {
		if d := all[arch.Place{Layer: mod.Layer, Part: mod.Part}]; mod.IsMatrix() && mod.Part != arch.AuxHead {
			m.rounding.Declare(mod, d.weight, &Declarer{params: m.Params, layer: d.weight.level})
		}
	}
}

// roundedEmbed sets the residual stream to what the student looks up.
func (m *Model) roundedEmbed(a *Activations) error {
	q, scale := m.rounding.Table(m.embed)
	err := m.b.QEmbed(a.x[0], q, scale, a.Inputs)
	if m.positions != nil {
		q, scale := m.rounding.Table(m.positions)
		err = backend.First(err, m.b.QEmbed(a.final, q, scale, a.Positions), m.b.Add(a.x[0], a.x[0], a.final))
	}
	return backend.First(err, a.dropout(m.b, a.x[0], a.x[0], 0))
}

// attend computes attention, and with rounding the student's, which s.attn is then: what the output projection reads.
func (l *Block) attend(m *Model, s *layerActivations) error {
	args := l.attention(s)
	if !m.rounds() {
		return m.b.Attention(s.attn, s.lse, s.q, s.k, s.v, args)
	}
	return backend.First(
		m.b.Attention(s.exact, s.lse, s.q, s.k, s.v, args),
		m.b.QAttention(s.attn, s.q, s.k, s.v, args),
	)
}

// attended is the output of attention that its backward pass reads.
func (s *layerActivations) attended(m *Model) *tensor.Dense {
	if m.rounds() {
		return s.exact
	}
	return s.attn
}
