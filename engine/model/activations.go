package model

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
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

	// Gradients, shared by all layers.
	dx, dn           *tensor.Dense // [N,C]
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

// layer gives the activations of layer i.
func (a *Activations) layer(i int) *layerActivations {
	if len(a.layers) == 1 {
		return a.layers[0]
	}
	return a.layers[i]
}

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

// maker makes tensors until something fails. A counting allocator returns no tensors, and there are no views of
// them.
type maker struct {
	b     backend.Backend
	alloc backend.Allocator
	err   error
}

func (mk *maker) make(dt tensor.Dtype, shape ...int) *tensor.Dense {
	if mk.err != nil {
		return nil
	}
	var t *tensor.Dense
	t, mk.err = mk.alloc.New(dt, shape...)
	return t
}

func (mk *maker) f32(shape ...int) *tensor.Dense { return mk.make(backend.F32, shape...) }

func (mk *maker) view(t *tensor.Dense, shape ...int) *tensor.Dense {
	if mk.err != nil || t == nil {
		return nil
	}
	t, mk.err = mk.b.View(t, 0, shape...)
	return t
}

func (mk *maker) stats(c Config, n int) normStats {
	s := normStats{rstd: mk.f32(n)}
	if c.Norm == NormLayer {
		s.mean = mk.f32(n)
	}
	return s
}

func (m *Model) activations(alloc backend.Allocator, batch, time int, training bool) (*Activations, error) {
	c, n := m.Config, batch*time
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
	layers := 1
	if training {
		layers = c.Layers
	}
	for i := range a.x {
		if i > 0 && !training {
			a.x[i] = a.x[0]
			continue
		}
		a.x[i] = mk.f32(n, c.HiddenSize)
	}
	for range layers {
		a.layers = append(a.layers, m.layerActivations(mk, n))
	}
	if training {
		m.gradients(mk, a, n)
	}
	return a, mk.err
}

func (m *Model) layerActivations(mk *maker, n int) *layerActivations {
	c := m.Config
	width, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	s := &layerActivations{
		n1: mk.f32(n, c.HiddenSize), n2: mk.f32(n, c.HiddenSize),
		stats1: mk.stats(c, n), stats2: mk.stats(c, n),
		qRaw: mk.f32(n, width), kRaw: mk.f32(n, kv), v: mk.f32(n, kv),
		attn: mk.f32(n, width), lse: mk.f32(n, c.Heads),
		mid: mk.f32(n, c.HiddenSize),
		up:  mk.f32(n, c.IntermediateSize), hidden: mk.f32(n, c.IntermediateSize),
	}
	s.q, s.k = s.qRaw, s.kRaw
	if c.QKNorm {
		s.q, s.k = mk.f32(n, width), mk.f32(n, kv)
		s.qHeads, s.kHeads = mk.view(s.q, n*c.Heads, c.HeadDim), mk.view(s.k, n*c.KVHeads, c.HeadDim)
		s.qRawHeads, s.kRawHeads = mk.view(s.qRaw, n*c.Heads, c.HeadDim), mk.view(s.kRaw, n*c.KVHeads, c.HeadDim)
		s.qStats, s.kStats = normStats{rstd: mk.f32(n * c.Heads)}, normStats{rstd: mk.f32(n * c.KVHeads)}
	}
	if c.Activation == ActSwiGLU {
		s.gate = mk.f32(n, c.IntermediateSize)
	}
	return s
}

func (m *Model) gradients(mk *maker, a *Activations, n int) {
	c := m.Config
	width, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	a.DLogits = mk.f32(a.Batch, a.Time, c.VocabSize)
	a.dx, a.dn = mk.f32(n, c.HiddenSize), mk.f32(n, c.HiddenSize)
	a.dAttn, a.dq = mk.f32(n, width), mk.f32(n, width)
	a.dk, a.dv = mk.f32(n, kv), mk.f32(n, kv)
	a.dqHeads, a.dkHeads = mk.view(a.dq, n*c.Heads, c.HeadDim), mk.view(a.dk, n*c.KVHeads, c.HeadDim)
	a.dHidden = mk.f32(n, c.IntermediateSize)
	if c.Activation == ActSwiGLU {
		a.dUp = mk.f32(n, c.IntermediateSize)
	}
}
