package model

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Activations holds everything of a forward and backward pass that depends on the batch. The exported tensors are
// the model's inputs and outputs.
type Activations struct {
	Batch, Time int

	Inputs    *tensor.Dense // [B,T] i32
	Positions *tensor.Dense // [B,T] i32
	Targets   *tensor.Dense // [B,T] i32
	Weights   *tensor.Dense // [B,T] f32, the loss mask
	Loss      *tensor.Dense // [B,T] f32, weighted nats
	Logits    *tensor.Dense // [B,T,V] f32
	DLogits   *tensor.Dense // [B,T,V] f32; nil without training

	// Dropout is the rate during training; Seed and Row place the masks of this micro-batch (see
	// backend.DropoutArgs).
	Dropout float32
	Seed    uint64
	Row     int64

	slab   backend.Slab
	x      []*tensor.Dense // residual stream before each layer and after the last [N,C]
	layers []*layerActivations
	branch *tensor.Dense // what a branch adds to the stream [N,C]

	final      *tensor.Dense // [N,C]
	finalStats normStats

	// Gradients. All layers share their memory.
	dx, dn *tensor.Dense // [N,C]
	grads  []*layerGradients
}

// layerGradients are the gradients inside one layer.
type layerGradients struct {
	dAttn            *tensor.Dense // [N,H·D]
	dq, dk, dv       *tensor.Dense // [N,H·D] and [N,G·D]
	dqHeads, dkHeads *tensor.Dense // the same, one row per head
	dHidden, dUp     *tensor.Dense // [N,F]
}

// layerActivations is what one layer keeps for its backward pass.
type layerActivations struct {
	n1, n2               *tensor.Dense // [N,C]
	stats1, stats2       normStats
	qRaw, kRaw           *tensor.Dense // before QK-norm [N,H·D], [N,G·D]
	q, k, v              *tensor.Dense // as attention sees them
	qRawHeads, kRawHeads *tensor.Dense // one row per head
	qHeads, kHeads       *tensor.Dense
	qStats, kStats       normStats
	attn, lse            *tensor.Dense // [N,H·D], [N,H]
	mid                  *tensor.Dense // residual stream between the branches [N,C]
	up, gate, hidden     *tensor.Dense // [N,F]
}

// NewActivations reserves what a batch of the given shape needs. With training every layer keeps its activations;
// without, the layers share one set and only Forward may be called.
func (m *Model) NewActivations(batch, time int, training bool) (*Activations, error) {
	if batch < 1 || time < 1 || time > m.Config.Context {
		return nil, fmt.Errorf("model: a batch of %d sequences of %d tokens: want at least one of 1 to %d tokens (max_position_embeddings)",
			batch, time, m.Config.Context)
	}
	var size backend.Sizer
	if _, err := m.activations(&size, batch, time, training); err != nil {
		return nil, err
	}
	slab, err := m.b.NewSlab(size.Bytes())
	if err != nil {
		return nil, fmt.Errorf("model: a batch of %d sequences of %d tokens needs %d MiB, %d KiB a sequence: %w",
			batch, time, size.Bytes()>>20, size.Bytes()>>10/int64(batch), err)
	}
	a, err := m.activations(slab, batch, time, training)
	if err != nil {
		slab.Free()
		return nil, err
	}
	a.slab = slab
	return a, nil
}

// ActivationBytes is the memory that NewActivations would reserve.
func (m *Model) ActivationBytes(batch, time int, training bool) (int64, error) {
	var size backend.Sizer
	_, err := m.activations(&size, batch, time, training)
	return size.Bytes(), err
}

// Close frees the memory.
func (a *Activations) Close() error { return a.slab.Free() }

// dropout applies the mask of one place in the model. Without dropout it does nothing: the callers read the
// source where gradOf says so, or pass the same tensor twice.
func (a *Activations) dropout(b backend.Backend, dst, src *tensor.Dense, place int) error {
	if a.Dropout == 0 {
		return nil
	}
	return b.Dropout(dst, src, backend.DropoutArgs{
		Rate: a.Dropout, Seed: a.Seed + uint64(place)*0x9e3779b97f4a7c15, Row: a.Row,
	})
}

// gradOf is the gradient of a branch's output: masked where there is dropout, else that of the stream itself.
func (a *Activations) gradOf(masked *tensor.Dense) *tensor.Dense {
	if a.Dropout == 0 {
		return a.dx
	}
	return masked
}

func (m *Model) activations(alloc backend.Allocator, batch, time int, training bool) (*Activations, error) {
	c, n := &m.Config, batch*time
	mk := &maker{b: m.b, alloc: alloc}
	a := &Activations{
		Batch: batch, Time: time,
		Inputs:    mk.make(backend.I32, batch, time),
		Positions: mk.make(backend.I32, batch, time),
		Targets:   mk.make(backend.I32, batch, time),
		Weights:   mk.f32(batch, time),
		Loss:      mk.f32(batch, time),
		Logits:    mk.f32(batch, time, c.VocabSize),
		branch:    mk.f32(n, c.HiddenSize),
		final:     mk.f32(n, c.HiddenSize),
	}
	a.finalStats = mk.stats(c, n)
	a.x = make([]*tensor.Dense, c.Layers+1)
	for i := range a.x {
		if i > 0 && !training {
			a.x[i] = a.x[0]
			continue
		}
		a.x[i] = mk.f32(n, c.HiddenSize)
	}
	if training {
		for i := range c.Layers {
			a.layers = append(a.layers, m.layerActivations(mk, n, c.Layer(i)))
		}
		m.gradients(mk, a, n)
		return a, mk.err
	}
	mk.overlaid(c.Layers, func(mk *maker, i int) {
		a.layers = append(a.layers[:i], m.layerActivations(mk, n, c.Layer(i)))
	})
	return a, mk.err
}

func (m *Model) layerActivations(mk *maker, n int, shape arch.Layer) *layerActivations {
	c := &m.Config
	width, kv, mlp := shape.Heads*c.HeadDim, shape.KVHeads*c.HeadDim, shape.IntermediateSize
	s := &layerActivations{
		n1: mk.f32(n, c.HiddenSize), n2: mk.f32(n, c.HiddenSize),
		stats1: mk.stats(c, n), stats2: mk.stats(c, n),
		qRaw: mk.f32(n, width), kRaw: mk.f32(n, kv), v: mk.f32(n, kv),
		attn: mk.f32(n, width), lse: mk.f32(n, shape.Heads),
		mid: mk.f32(n, c.HiddenSize),
		up:  mk.f32(n, mlp), hidden: mk.f32(n, mlp),
	}
	s.q, s.k = s.qRaw, s.kRaw
	if c.QKNorm {
		s.q, s.k = mk.f32(n, width), mk.f32(n, kv)
		s.qHeads, s.kHeads = mk.view(s.q, n*shape.Heads, c.HeadDim), mk.view(s.k, n*shape.KVHeads, c.HeadDim)
		s.qRawHeads, s.kRawHeads = mk.view(s.qRaw, n*shape.Heads, c.HeadDim), mk.view(s.kRaw, n*shape.KVHeads, c.HeadDim)
		s.qStats, s.kStats = normStats{rstd: mk.f32(n * shape.Heads)}, normStats{rstd: mk.f32(n * shape.KVHeads)}
	}
	if c.Activation == arch.ActSwiGLU {
		s.gate = mk.f32(n, mlp)
	}
	return s
}

func (m *Model) gradients(mk *maker, a *Activations, n int) {
	c := &m.Config
	a.DLogits = mk.f32(a.Batch, a.Time, c.VocabSize)
	a.dx, a.dn = mk.f32(n, c.HiddenSize), mk.f32(n, c.HiddenSize)
	mk.overlaid(c.Layers, func(mk *maker, i int) {
		shape := c.Layer(i)
		width, kv, mlp := shape.Heads*c.HeadDim, shape.KVHeads*c.HeadDim, shape.IntermediateSize
		g := &layerGradients{
			dAttn: mk.f32(n, width), dq: mk.f32(n, width), dk: mk.f32(n, kv), dv: mk.f32(n, kv), dHidden: mk.f32(n, mlp),
		}
		g.dqHeads, g.dkHeads = mk.view(g.dq, n*shape.Heads, c.HeadDim), mk.view(g.dk, n*shape.KVHeads, c.HeadDim)
		if c.Activation == arch.ActSwiGLU {
			g.dUp = mk.f32(n, mlp)
		}
		a.grads = append(a.grads[:i], g)
	})
}
