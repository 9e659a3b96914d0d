package qat

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/model"
)

// product multiplies rounded rows by a rounded matrix where the rounding is on, and is Dense where it is off.
type product struct {
	model.Dense
	r *Rounding
	m *matrix
}

// state holds the rows that were rounded last.
type state struct{ q, scale *tensor.Dense }

// State implements model.Product.
func (p product) State(mk *model.Maker, rows int, _ bool) model.State {
	return &state{mk.Make(backend.I8, rows, p.m.Cols), mk.F32(rows)}
}

// Forward implements model.Product.
func (p product) Forward(b backend.Backend, y, x *tensor.Dense, s model.State) error {
	if !p.r.on {
		return p.Dense.Forward(b, y, x, nil)
	}
	st := s.(*state)
	var bias *tensor.Dense
	if p.B != nil {
		bias = p.B.Value
	}
	return backend.First(b.QuantizeRows(st.q, st.scale, x), b.QLinear(y, st.q, st.scale, p.m.q, p.m.scales, bias))
}

// Backward implements model.Product: dW += dyᵀ·x, db += Σdy, dx = dy·Ŵ with the rounded Ŵ.
func (p product) Backward(b backend.Backend, dx, dy, x *tensor.Dense, _ model.State, addDX bool) error {
	if !p.r.on {
		return p.Dense.Backward(b, dx, dy, x, nil, addDX)
	}
	if err := p.Dense.Backward(b, nil, dy, x, nil, false); err != nil || dx == nil {
		return err
	}
	return b.MatMul(dx, dy, p.m.rounded, backend.MatMulArgs{Accumulate: addDX})
}
