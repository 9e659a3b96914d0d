package model

import (
	"errors"
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
	head      Linear  // shares embed where embeddings are tied
	aux       *Linear // a second output head, or nil
	linears   []*Linear
	act       tensor.Dtype // of activations and their gradients, but for the residual stream
	rounding  Rounding     // or nil
	holders   map[*Param]Holder
	lowest    int    // the first layer with something to train; 0 also where the embedding is trained
	epoch     uint64 // advances with everything that a recorded pass does not see

	cos, sin *tensor.Dense // [P,D/2], or nil
}

// Options say how a model is built from its configuration. The zero value is for inference.
type Options struct {
	// Grads makes room for gradients.
	Grads bool
	// Trained says by name which of the model's own parameters are trained; nil means all. It needs Grads.
	Trained func(tensor string) bool
	// Masked says by name which of the model's own matrices have a mask, see Model.SetMask; nil means none.
	Masked func(tensor string) bool
	// Product gives the product of a linear layer. It may declare parameters of its own. Nil, as a function or as its
	// result, means Dense. The output heads are always Dense.
	Product func(l *Linear, own *Declarer) Product
	// Rounding has passes compute what the student computes; nil for none. It takes the place of Product, the heads' too.
	Rounding Rounding
}

// Declarer takes the parameters that a product has beside the model's own.
type Declarer struct {
	params *Params
	layer  int
	any    bool // something was declared
}

// Declare adds a trained parameter. Its name must not be one of the model's. With zero it starts at zero.
func (d *Declarer) Declare(name string, kind Kind, zero bool, shape ...int) *Param {
	p := &Param{Name: name, Kind: kind, Shape: shape, zero: zero, level: d.layer}
	d.any = true
	d.params.Added = append(d.params.Added, p)
	return p
}

// New builds a model with zero parameters on a backend, all of them dense. With grads all of it can be trained. Call
// Initialize or Read next, and Close when done.
func New(b backend.Backend, c arch.Config, grads bool) (*Model, error) {
	return Build(b, c, Options{Grads: grads})
}

// Build builds a model as the options say. Errors: *arch.FieldError, backend.ErrOutOfMemory.
func Build(b backend.Backend, c arch.Config, o Options) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	// Sizes are ints from here on, which are of 32 bits on small machines.
	if n := c.Params(); n > math.MaxInt/8 {
		return nil, fmt.Errorf("model: %d parameters: %w", n, backend.ErrOutOfMemory)
	}
	m := &Model{Config: c.Clone(), Params: &Params{}, b: b, act: backend.F32, rounding: o.Rounding, holders: map[*Param]Holder{}}
	if o.Product == nil && o.Rounding == nil && c.PLEDim == 0 {
		m.act = backend.ActivationType(b) // products of other kinds, and the student's operations, are of float32
	}
	if err := m.wire(o); err != nil {
		return nil, err
	}
	m.Params.layout()
	slab, bytes, err := reserve(b, func(mk *Maker) { m.allocate(mk, o.Grads) })
	if err != nil {
		return nil, fmt.Errorf("model: %d parameters need %d MiB: %w", m.Params.Count(), bytes>>20, err)
	}
	m.slab = slab
	if err := m.fill(); err != nil {
		return nil, errors.Join(err, slab.Free())
	}
	return m, nil
}

// Close frees the model's memory.
func (m *Model) Close() error { return m.slab.Free() }

// Backend is the backend that the model lives on.
func (m *Model) Backend() backend.Backend { return m.b }

// Epoch tells recordings of passes apart: it advances when a mask or a product changes what a pass computes in a way that
// no tensor of the pass shows.
func (m *Model) Epoch() uint64 { return m.epoch }

// Changed advances the epoch. A product whose settings change calls it, such as an adapter that is switched.
func (m *Model) Changed() { m.epoch++ }

// Linears lists the linear layers in the order of the file, the heads included.
func (m *Model) Linears() []*Linear { return m.linears }

// wire declares the parameters and connects the layers to them.
func (m *Model) wire(o Options) error {
	c := &m.Config
	all := m.Params.declare(m.Config)
	for _, p := range m.Params.List {
		p.Frozen = o.Grads && o.Trained != nil && !o.Trained(p.Name)
		p.masked = o.Masked != nil && p.Kind == Matrix && o.Masked(p.Name)
	}
	if m.rounding != nil {
		m.declareRounded(all)
	}
	linear := func(layer int, part arch.Part) Linear {
		d := all[arch.Place{Layer: layer, Part: part}]
		l := Linear{Module: d.Module, Weight: d.weight, Bias: d.bias, Product: Dense{d.weight, d.bias}}
		switch {
		case m.rounding != nil && d.weight != nil && part != arch.AuxHead:
			l.Product = m.rounding.Product(&l, d.weight)
		case o.Product != nil && layer >= 0 && d.weight != nil:
			own := &Declarer{params: m.Params, layer: layer}
			if p := o.Product(&l, own); p != nil {
				l.Product = p
			}
			l.added = own.any
		}
		if h, ok := l.Product.(Holder); ok {
			l.Weight.held, l.Weight.Frozen = true, true
			m.holders[l.Weight] = h
		}
		return l
	}
	at := func(p arch.Part) declared { return all[arch.Place{Layer: -1, Part: p}] }
	m.embed, m.positions = at(arch.Embedding).weight, at(arch.Positions).weight
	for i := range c.Layers {
		block := newBlock(c, i, all, func(p arch.Part) Linear { return linear(i, p) })
		m.blocks = append(m.blocks, block)
		m.linears = append(m.linears, block.linears()...)
	}
	m.norm = newNorm(c, at(arch.FinalNorm))
	for _, n := range m.norms() {
		n.rounding = m.rounding
	}
	if c.TieEmbeddings {
		w := &Param{Name: m.embed.Name, Kind: Table, Shape: m.embed.Shape, Frozen: m.embed.Frozen}
		m.head = Linear{Weight: w, Product: Dense{W: w}}
		if m.rounding != nil {
			m.head.Product = m.rounding.Product(&m.head, m.embed)
		}
	} else {
		m.head = linear(-1, arch.Head)
	}
	m.linears = append(m.linears, &m.head)
	if c.AuxVocab > 0 {
		aux := linear(-1, arch.AuxHead)
		m.aux = &aux
		m.linears = append(m.linears, m.aux)
	}
	for _, p := range m.Params.Added {
		if m.Params.Lookup(p.Name) != p {
			return fmt.Errorf("model: a parameter called %s is there already", p.Name)
		}
	}
	m.lowest = c.Layers
	for _, p := range m.Params.Trained() {
		m.lowest = min(m.lowest, p.level)
	}
	return nil
}

// norms lists the normalisations.
func (m *Model) norms() []*Norm {
	var list []*Norm
	for _, b := range m.blocks {
		list = append(list, b.norms()...)
	}
	return append(list, &m.norm)
}

func (m *Model) allocate(mk *Maker, grads bool) {
	c := &m.Config
	m.Params.allocate(mk, grads)
	for _, l := range m.linears {
		if h, ok := l.Product.(Holder); ok {
			h.Allocate(mk)
		}
	}
	if c.TieEmbeddings {
		m.head.Weight.Value = m.embed.Value
		if grads && !m.embed.Frozen {
			// As an output head the table has a gradient of its own, added in FinishGrad: in one tensor, the two sums
			// would mix in another order for every number of micro-batches.
			m.head.Weight.Grad = mk.F32(m.embed.Shape...)
		}
	}
	for _, n := range m.norms() {
		n.allocate(mk, grads)
	}
	if m.rounding != nil {
		m.rounding.Allocate(mk)
	}
	if c.Position == arch.PositionRoPE {
		m.cos, m.sin = mk.F32(c.Context, c.HeadDim/2), mk.F32(c.Context, c.HeadDim/2)
	}
}

// fill uploads what is computed from the configuration.
func (m *Model) fill() error {
	for _, p := range m.Params.List {
		if p.Mask != nil {
			if err := m.b.Upload(p.Mask, ones(p.Size())); err != nil {
				return err
			}
		}
	}
	if m.cos == nil {
		return nil
	}
	tables := RoPETables
	if m.rounding != nil {
		tables = m.rounding.Rotary
	}
	cos, sin := tables(m.Config)
	return backend.First(m.b.Upload(m.cos, cos), m.b.Upload(m.sin, sin))
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}
