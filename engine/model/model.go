package model

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Model is a decoder with its parameters on a backend.
type Model struct {
	Config arch.Config
	Params *Params

	b         backend.Backend
	slab      backend.Slab
	embed     *Param // [V,C]
	positions *Param // [P,C], or nil
	blocks    []*Block
	norm      Norm
	head      Linear // shares embed where embeddings are tied

	cos, sin *tensor.Dense // [P,D/2], or nil
}

// New builds a model with zero parameters on a backend. With grads it can be trained. Call Initialize or Load
// next, and Close when done.
func New(b backend.Backend, c arch.Config, grads bool) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &Model{Config: c, Params: &Params{}, b: b}
	m.wire()
	// Sizes are ints from here on, which are of 32 bits on small machines.
	if n := c.Params(); n > math.MaxInt/8 {
		return nil, fmt.Errorf("model: %d parameters: %w", n, backend.ErrOutOfMemory)
	}
	m.Params.layout()

	var size backend.Sizer
	if err := m.allocate(&size, grads); err != nil {
		return nil, err
	}
	slab, err := b.NewSlab(size.Bytes())
	if err != nil {
		return nil, fmt.Errorf("model: %d parameters need %d MiB: %w", m.Params.Count(), size.Bytes()>>20, err)
	}
	m.slab = slab
	if err := m.fill(slab, grads); err != nil {
		slab.Free()
		return nil, err
	}
	return m, nil
}

// Close frees the model's memory.
func (m *Model) Close() error { return m.slab.Free() }

// Backend is the backend that the model lives on.
func (m *Model) Backend() backend.Backend { return m.b }

// wire declares the parameters and connects the layers to them.
func (m *Model) wire() {
	c := m.Config
	all := m.Params.declare(c)
	at := func(p arch.Part) declared { return all[arch.Place{Layer: -1, Part: p}] }
	m.embed, m.positions = at(arch.Embedding).weight, at(arch.Positions).weight
	for i := range c.Layers {
		m.blocks = append(m.blocks, newBlock(c, i, func(p arch.Part) declared { return all[arch.Place{Layer: i, Part: p}] }))
	}
	m.norm = newNorm(c, at(arch.FinalNorm))
	if head := at(arch.Head); head.weight != nil {
		m.head.W = head.weight
	} else {
		m.head.W = &Param{Name: m.embed.Name, Kind: Table, Shape: m.embed.Shape}
	}
}

func (m *Model) allocate(alloc backend.Allocator, grads bool) (err error) {
	if err = m.Params.allocate(m.b, alloc, grads); err != nil {
		return err
	}
	if m.Config.TieEmbeddings {
		m.head.W.Value = m.embed.Value
		if grads {
			// As an output head the table has a gradient of its own, added in FinishGrad: in one tensor, the two sums
			// would mix in another order for every number of micro-batches.
			if m.head.W.Grad, err = alloc.New(backend.F32, m.embed.Shape...); err != nil {
				return err
			}
		}
	}
	if m.Config.Position != arch.PositionRoPE {
		return nil
	}
	half := m.Config.HeadDim / 2
	if m.cos, err = alloc.New(backend.F32, m.Config.Context, half); err != nil {
		return err
	}
	m.sin, err = alloc.New(backend.F32, m.Config.Context, half)
	return err
}

func (m *Model) fill(slab backend.Slab, grads bool) error {
	if err := m.allocate(slab, grads); err != nil || m.cos == nil {
		return err
	}
	cos, sin := RoPETables(m.Config)
	return first(m.b.Upload(m.cos, cos), m.b.Upload(m.sin, sin))
}

// ZeroGrad clears the gradients, before the first Backward of a step.
func (m *Model) ZeroGrad() error {
	if err := m.b.Zero(m.Params.Grad); err != nil || !m.Config.TieEmbeddings {
		return err
	}
	return m.b.Zero(m.head.W.Grad)
}

// FinishGrad completes the gradients, after the last Backward of a step.
func (m *Model) FinishGrad() error {
	if !m.Config.TieEmbeddings {
		return nil
	}
	return m.b.Add(m.embed.Grad, m.embed.Grad, m.head.W.Grad)
}

// Forward computes a.Logits from a.Inputs and a.Positions.
func (m *Model) Forward(a *Activations) error {
	b := m.b
	if err := b.Embed(a.x[0], m.embed.Value, a.Inputs, false); err != nil {
		return err
	}
	if m.positions != nil {
		if err := b.Embed(a.x[0], m.positions.Value, a.Positions, true); err != nil {
			return err
		}
	}
	if err := a.dropout(b, a.x[0], a.x[0], 0); err != nil {
		return err
	}
	for i, block := range m.blocks {
		if err := block.Forward(m, a, i); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return first(
		m.norm.Forward(b, a.final, a.x[len(m.blocks)], a.finalStats),
		m.head.Forward(b, a.Logits, a.final),
	)
}

// Backward adds to the gradients of all parameters what follows from a.DLogits, after Forward on the same a. A step
// is ZeroGrad, Forward and Backward for every micro-batch, then FinishGrad.
func (m *Model) Backward(a *Activations) error {
	b := m.b
	if err := first(
		m.head.Backward(b, a.dx, a.DLogits, a.final, false),
		m.norm.Backward(b, a.dx, a.dx, a.x[len(m.blocks)], a.finalStats),
	); err != nil {
		return err
	}
	for i := len(m.blocks) - 1; i >= 0; i-- {
		if err := m.blocks[i].Backward(m, a, i); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	if err := first(
		a.dropout(b, a.dx, a.dx, 0),
		b.EmbedBackward(m.embed.Grad, a.dx, a.Inputs),
	); err != nil || m.positions == nil {
		return err
	}
	return b.EmbedBackward(m.positions.Grad, a.dx, a.Positions)
}
