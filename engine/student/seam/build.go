package seam

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/student"
)

// builder cuts a Runner's tensors from an allocator and fills them; without upload it only counts.
type builder struct {
	a      backend.Allocator
	upload func(dst *tensor.Dense, src any) error
	err    error
}

func (m *builder) make(dt tensor.Dtype, shape ...int) (t *tensor.Dense) {
	if m.err == nil {
		t, m.err = m.a.New(dt, shape...)
	}
	return t
}

func (m *builder) fill(t *tensor.Dense, src any) *tensor.Dense {
	if m.err == nil && m.upload != nil {
		m.err = m.upload(t, src)
	}
	return t
}

// vector makes a f32 vector; nil gives nil.
func (m *builder) vector(v []float32) *tensor.Dense {
	if v == nil {
		return nil
	}
	return m.fill(m.make(backend.F32, len(v)), v)
}

func (m *builder) matrix(w *student.Matrix) matrix {
	return matrix{
		q:     m.fill(m.make(backend.I8, w.Rows, w.Cols), w.Q),
		scale: m.vector(w.Scale),
		bias:  m.vector(w.Bias),
	}
}

func (m *builder) build(r *Runner, w *student.Weights) error {
	c, n := &r.config, r.rows()
	r.embedding, r.norm, r.normBias = m.matrix(&w.Embedding), m.vector(w.Norm), m.vector(w.NormBias)
	r.head = r.embedding
	if !c.TieEmbeddings {
		r.head = m.matrix(&w.Head)
	}
	if c.Position == arch.PositionLearned {
		r.positions = m.matrix(&w.Positions)
	} else {
		// As far as the sequences go: a context may be much longer.
		cos, sin := student.RoPETables(*c, r.time)
		r.cos = m.fill(m.make(backend.F32, r.time, c.HeadDim/2), cos)
		r.sin = m.fill(m.make(backend.F32, r.time, c.HeadDim/2), sin)
	}
	var heads, kvHeads, width int
	for i := range w.Layers {
		l := &w.Layers[i]
		r.layers = append(r.layers, m.layer(l, c, c.Layer(i)))
		heads, kvHeads, width = max(heads, l.Query.Rows), max(kvHeads, l.Key.Rows), max(width, l.Up.Rows)
	}
	places := make([]int32, n)
	for i := range places {
		places[i] = int32(i % r.time)
	}
	r.ids, r.places = m.make(backend.I32, n), m.fill(m.make(backend.I32, n), places)
	r.x, r.h = m.make(backend.F32, n, c.HiddenSize), m.make(backend.F32, n, c.HiddenSize)
	r.logits = m.make(backend.F32, n, c.VocabSize)
	r.q, r.out, r.spare = m.make(backend.F32, n, heads), m.make(backend.F32, n, heads), m.make(backend.F32, n, max(heads, kvHeads))
	r.k, r.v = m.make(backend.F32, n, kvHeads), m.make(backend.F32, n, kvHeads)
	r.up, r.gate = m.make(backend.F32, n, width), m.make(backend.F32, n, width)
	r.quantized = m.make(backend.I8, n, max(c.HiddenSize, heads, width))
	r.quantizedScales = m.make(backend.F32, n)
	return m.err
}

func (m *builder) layer(l *student.Layer, c *arch.Config, shape arch.Layer) layer {
	out := layer{
		norm1: m.vector(l.Norm1), norm1Bias: m.vector(l.Norm1Bias), norm2: m.vector(l.Norm2), norm2Bias: m.vector(l.Norm2Bias),
		query: m.matrix(&l.Query), key: m.matrix(&l.Key), value: m.matrix(&l.Value), output: m.matrix(&l.Output),
		queryNorm: m.vector(l.QueryNorm), keyNorm: m.vector(l.KeyNorm),
		up: m.matrix(&l.Up), down: m.matrix(&l.Down),
		shape: shape,
	}
	if c.Activation == arch.ActSwiGLU {
		out.gate = m.matrix(&l.Gate)
	}
	return out
}
