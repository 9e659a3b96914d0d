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
	view   func(t *tensor.Dense, offset int, shape ...int) (*tensor.Dense, error)
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

// over is a tensor [rows,cols] over the beginning of t.
func (m *builder) over(t *tensor.Dense, rows, cols int) *tensor.Dense {
	if m.err != nil || m.view == nil {
		return nil
	}
	t, m.err = m.view(t, 0, rows, cols)
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
	places := make([]int32, n)
	for i := range places {
		places[i] = int32(i % r.time)
	}
	r.ids, r.places = m.make(backend.I32, n), m.fill(m.make(backend.I32, n), places)
	r.x, r.h = m.make(backend.F32, n, c.HiddenSize), m.make(backend.F32, n, c.HiddenSize)
	r.logits = m.make(backend.F32, n, c.VocabSize)
	r.scales = m.make(backend.F32, n)
	// Room for the widest layer; the others see the beginning of it.
	wide := m.room(n, c)
	r.xQ = m.over(wide.quantized, n, c.HiddenSize)
	if e := c.PLEDim; e > 0 {
		r.pleRow, r.ple, r.pleQ = m.make(backend.F32, n, e), m.make(backend.F32, n, e), m.over(wide.quantized, n, e)
	}
	for i := range w.Layers {
		l := m.layer(&w.Layers[i], c)
		m.views(&l, wide, r, c.Layer(i))
		r.layers = append(r.layers, l)
	}
	return m.err
}

// room is what the activations inside a layer need.
type room struct{ q, k, v, out, spare, hidden, gated, quantized *tensor.Dense }

func (m *builder) room(n int, c *arch.Config) room {
	heads, kv, width := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.IntermediateSize
	return room{
		q: m.make(backend.F32, n, heads), out: m.make(backend.F32, n, heads), spare: m.make(backend.F32, n, heads),
		k: m.make(backend.F32, n, kv), v: m.make(backend.F32, n, kv),
		hidden: m.make(backend.F32, n, width), gated: m.make(backend.F32, n, width),
		quantized: m.make(backend.I8, n, max(c.HiddenSize, heads, width, c.PLEDim)),
	}
}

// views gives a layer its share of the room.
func (m *builder) views(l *layer, wide room, r *Runner, s arch.Layer) {
	n, d := r.rows(), r.config.HeadDim
	heads, kv := s.Heads*d, s.KVHeads*d
	l.q, l.k, l.v, l.out = m.over(wide.q, n, heads), m.over(wide.k, n, kv), m.over(wide.v, n, kv), m.over(wide.out, n, heads)
	l.hidden, l.gated = m.over(wide.hidden, n, s.IntermediateSize), m.over(wide.gated, n, s.IntermediateSize)
	l.outQ, l.hiddenQ = m.over(wide.quantized, n, heads), m.over(wide.quantized, n, s.IntermediateSize)
	if l.queryNorm != nil {
		l.qHeads.x, l.qHeads.copy = m.over(wide.q, n*s.Heads, d), m.over(wide.spare, n*s.Heads, d)
		l.kHeads.x, l.kHeads.copy = m.over(wide.k, n*s.KVHeads, d), m.over(wide.spare, n*s.KVHeads, d)
	}
	l.args = backend.AttentionArgs{
		Batch: r.batch, Time: r.time, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: d, Window: s.Window, Scale: s.Scale,
	}
}

func (m *builder) layer(l *student.Layer, c *arch.Config) layer {
	out := layer{
		norm1: m.vector(l.Norm1), norm1Bias: m.vector(l.Norm1Bias), norm2: m.vector(l.Norm2), norm2Bias: m.vector(l.Norm2Bias),
		query: m.matrix(&l.Query), key: m.matrix(&l.Key), value: m.matrix(&l.Value), output: m.matrix(&l.Output),
		queryNorm: m.vector(l.QueryNorm), keyNorm: m.vector(l.KeyNorm),
		up: m.matrix(&l.Up), down: m.matrix(&l.Down),
	}
	if c.Activation == arch.ActSwiGLU {
		out.gate = m.matrix(&l.Gate)
	}
	if c.PLEDim > 0 {
		out.ple = &perLayer{table: m.matrix(&l.PLE.Table), gate: m.matrix(&l.PLE.Gate), out: m.matrix(&l.PLE.Out)}
	}
	return out
}
