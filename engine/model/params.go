package model

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Kind tells optimisers how to treat a parameter.
type Kind int

const (
	Matrix Kind = iota // weight of a linear layer inside the model: weight decay, Muon where chosen
	Table              // embedding or output head: weight decay, never Muon
	Vector             // gain or bias: no weight decay
)

// Param is a named parameter with its gradient. Value and Grad are views into one tensor each.
type Param struct {
	Name        string
	Kind        Kind
	Shape       []int
	Value, Grad *tensor.Dense
	residual    bool // writes into the residual stream: scaled at initialisation
	gain        bool // of a norm: starts at one
	offset      int
}

// Size is the number of elements.
func (p *Param) Size() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Offset is where the parameter begins in the flat tensors.
func (p *Param) Offset() int { return p.offset }

// Params is the ordered set of a model's parameters. They lie in one tensor, grouped by kind, so that an optimiser
// updates a whole group with one call; the gradients lie in another of the same layout.
type Params struct {
	List        []*Param
	Value, Grad *tensor.Dense // flat, all groups, with zero padding between parameters
	groups      [3]Group
	length      int
}

// Group is the contiguous range that the parameters of one kind occupy.
type Group struct {
	Kind           Kind
	Offset, Length int
}

// paramAlign keeps every parameter on a boundary that any backend can load from at full width.
const paramAlign = backend.Alignment / 4

// Groups lists the groups that are not empty.
func (ps *Params) Groups() []Group {
	var out []Group
	for _, g := range ps.groups {
		if g.Length > 0 {
			out = append(out, g)
		}
	}
	return out
}

// Length is the length of the flat tensors, padding included.
func (ps *Params) Length() int { return ps.length }

// Count is the number of parameters, padding excluded.
func (ps *Params) Count() int {
	n := 0
	for _, p := range ps.List {
		n += p.Size()
	}
	return n
}

// Names lists the names in the order of the file.
func (ps *Params) Names() []string {
	names := make([]string, len(ps.List))
	for i, p := range ps.List {
		names[i] = p.Name
	}
	return names
}

// Lookup finds a parameter by name, or nil.
func (ps *Params) Lookup(name string) *Param {
	for _, p := range ps.List {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (ps *Params) add(name string, kind Kind, shape ...int) *Param {
	p := &Param{Name: name, Kind: kind, Shape: shape}
	ps.List = append(ps.List, p)
	return p
}

// declared is a module with its parameters.
type declared struct {
	arch.Module
	weight, bias *Param // bias nil without one
}

// declare lists the parameters of a configuration in the order of the file and returns them by place.
func (ps *Params) declare(c arch.Config) map[arch.Place]declared {
	all := map[arch.Place]declared{}
	for _, m := range c.Modules() {
		kind := Matrix
		switch {
		case m.Part.Table():
			kind = Table
		case !m.IsMatrix():
			kind = Vector
		}
		d := declared{Module: m}
		w := m.Weight()
		d.weight = ps.add(w.Name, kind, w.Shape...)
		d.weight.residual = m.Part.Residual()
		d.weight.gain = !m.IsMatrix()
		if m.Bias {
			b := m.BiasTensor()
			d.bias = ps.add(b.Name, Vector, b.Shape...)
		}
		all[arch.Place{Layer: m.Layer, Part: m.Part}] = d
	}
	return all
}

// layout gives every parameter its place.
func (ps *Params) layout() {
	for kind := Matrix; kind <= Vector; kind++ {
		ps.groups[kind] = Group{Kind: kind, Offset: ps.length}
		for _, p := range ps.List {
			if p.Kind == kind {
				p.offset = ps.length
				ps.length += (p.Size() + paramAlign - 1) / paramAlign * paramAlign
			}
		}
		ps.groups[kind].Length = ps.length - ps.groups[kind].Offset
	}
}

// allocate makes the flat tensors and the views. A counting allocator returns no tensors; then there are no views.
func (ps *Params) allocate(b backend.Backend, alloc backend.Allocator, grads bool) (err error) {
	if ps.Value, err = alloc.New(backend.F32, ps.length); err != nil {
		return err
	}
	if grads {
		if ps.Grad, err = alloc.New(backend.F32, ps.length); err != nil {
			return err
		}
	}
	if ps.Value == nil {
		return nil
	}
	for _, p := range ps.List {
		if p.Value, err = b.View(ps.Value, p.offset, p.Shape...); err != nil {
			return err
		}
		if grads {
			if p.Grad, err = b.View(ps.Grad, p.offset, p.Shape...); err != nil {
				return err
			}
		}
	}
	return nil
}

// Init says how fresh parameters are drawn.
type Init struct {
	Std          float64 `json:"std"`           // standard deviation of tables, and of matrices where FanIn is 0
	FanIn        float64 `json:"fan_in"`        // matrices get std FanIn/√(inputs) where it is positive
	ResidualZero bool    `json:"residual_zero"` // matrices that write into the residual stream start at zero
}

// DefaultInit is GPT-2's: std 0.02, and 0.02/√(2·layers) for what writes into the residual stream.
func DefaultInit() Init { return Init{Std: 0.02} }

// Initialize draws the parameters. Each parameter has a stream of its own, seeded by seed and its name, so that
// what one holds does not depend on which others there are.
func (m *Model) Initialize(seed uint64, init Init) error {
	for _, p := range m.Params.List {
		if err := m.b.Upload(p.Value, draw(p, seed, init, m.Config.Layers)); err != nil {
			return fmt.Errorf("model: initialise %s: %w", p.Name, err)
		}
	}
	return nil
}

func draw(p *Param, seed uint64, init Init, layers int) []float32 {
	w := make([]float32, p.Size())
	if p.Kind == Vector {
		if p.gain {
			for i := range w {
				w[i] = 1
			}
		}
		return w
	}
	if p.residual && init.ResidualZero {
		return w
	}
	std := init.Std
	if p.Kind == Matrix && init.FanIn > 0 {
		std = init.FanIn / math.Sqrt(float64(p.Shape[1]))
	}
	if p.residual {
		std /= math.Sqrt(2 * float64(layers))
	}
	h := fnv.New64a()
	h.Write([]byte(p.Name))
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	for i := range w {
		w[i] = float32(rng.NormFloat64() * std)
	}
	return w
}
