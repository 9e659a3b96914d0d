package model

import (
	"slices"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/kernels/blocks"
)

// Kind tells optimisers how to treat a parameter.
type Kind int

const (
	Matrix Kind = iota // weight of a linear layer inside the model: weight decay, Muon where chosen
	Table              // embedding or output head: weight decay, never Muon
	Vector             // gain or bias: no weight decay
)

// Param is a named parameter. Value and Grad are views into one tensor each.
type Param struct {
	Name        string
	Kind        Kind
	Shape       []int
	Value, Grad *tensor.Dense // Grad is nil where nothing is trained, and of a frozen parameter
	Frozen      bool          // has no gradient and no place in the flat tensors of what is trained
	Mask        *tensor.Dense // [Shape] 0 or 1, or nil; see Model.SetMask
	Live        *blocks.Index // of the mask: products leave out the other blocks; nil for none to leave out
	Whole       bool          // the gradient is asked for where the mask hides it too

	held     bool // a product holds the values in a form of its own; Value is nil
	masked   bool // gets a mask
	residual bool // writes into the residual stream: scaled at initialisation
	gain     bool // of a norm: starts at one
	zero     bool // starts at zero
	level    int  // the first layer that a backward pass must run for its gradient
	offset   int
}

// Size is the number of elements.
func (p *Param) Size() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Offset is where the parameter begins in the flat tensor that it lies in.
func (p *Param) Offset() int { return p.offset }

// Params is the ordered set of a model's parameters. What is trained lies in one tensor, grouped by kind, so that an
// optimiser updates a whole group with one call; the gradients lie in another of the same layout. What is frozen lies in a
// third, which optimisers, clipping, averages and training state never see.
type Params struct {
	List        []*Param      // the model's own, in the order of the file
	Added       []*Param      // those that products declare beside them, such as adapters; no part of the model's file
	Value, Grad *tensor.Dense // flat, all groups of what is trained, with zero padding between parameters
	Frozen      *tensor.Dense // flat, or nil
	groups      [3]Group
	length      int
	frozen      int // length of Frozen
}

// Group is the contiguous range that the trained parameters of one kind occupy.
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

// Length is the length of the flat tensors of what is trained, padding included.
func (ps *Params) Length() int { return ps.length }

// Count is the number of the model's own parameters, padding excluded.
func (ps *Params) Count() int {
	n := 0
	for _, p := range ps.List {
		n += p.Size()
	}
	return n
}

// Trained lists what is trained: the model's own parameters that are not frozen, then what products added.
func (ps *Params) Trained() []*Param {
	return slices.DeleteFunc(slices.Concat(ps.List, ps.Added), func(p *Param) bool { return p.Frozen })
}

// Names lists the names of the model's own parameters in the order of the file.
func (ps *Params) Names() []string {
	names := make([]string, len(ps.List))
	for i, p := range ps.List {
		names[i] = p.Name
	}
	return names
}

// Lookup finds a parameter by name, or nil.
func (ps *Params) Lookup(name string) *Param {
	for _, p := range slices.Concat(ps.List, ps.Added) {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// declared is a module with its parameters.
type declared struct {
	arch.Module
	weight, bias *Param // bias nil without one
}

// declare lists the parameters of a configuration in the order of the file and returns them by place.
func (ps *Params) declare(c arch.Config) map[arch.Place]declared {
	add := func(m arch.Module, t arch.Tensor, kind Kind) *Param {
		p := &Param{Name: t.Name, Kind: kind, Shape: t.Shape, level: m.Layer}
		switch {
		case m.Part == arch.Embedding || m.Part == arch.Positions:
			p.level = 0
		case m.Layer < 0:
			p.level = c.Layers
		}
		ps.List = append(ps.List, p)
		return p
	}
	all := map[arch.Place]declared{}
	for _, m := range c.Modules() {
		kind := Matrix
		switch {
		case m.Part.Table():
			kind = Table
		case !m.IsMatrix():
			kind = Vector
		}
		d := declared{Module: m, weight: add(m, m.Weight(), kind)}
		d.weight.residual, d.weight.gain = m.Part.Residual(), !m.IsMatrix()
		if m.Bias {
			d.bias = add(m, m.BiasTensor(), Vector)
			d.bias.zero = true
		}
		all[arch.Place{Layer: m.Layer, Part: m.Part}] = d
	}
	return all
}

// layout gives every parameter its place.
func (ps *Params) layout() {
	all := slices.Concat(ps.List, ps.Added)
	place := func(p *Param, end *int) {
		p.offset = *end
		*end += (p.Size() + paramAlign - 1) / paramAlign * paramAlign
	}
	for kind := Matrix; kind <= Vector; kind++ {
		ps.groups[kind] = Group{Kind: kind, Offset: ps.length}
		for _, p := range all {
			if p.Kind == kind && !p.Frozen {
				place(p, &ps.length)
			}
		}
		ps.groups[kind].Length = ps.length - ps.groups[kind].Offset
	}
	for _, p := range all {
		if p.Frozen && !p.held {
			place(p, &ps.frozen)
		}
	}
}

// allocate makes the flat tensors, the masks and the views. A counting allocator returns no tensors; then there are no
// views.
func (ps *Params) allocate(mk *Maker, grads bool) {
	if ps.length > 0 {
		ps.Value = mk.F32(ps.length)
		if grads {
			ps.Grad = mk.F32(ps.length)
		}
	}
	if ps.frozen > 0 {
		ps.Frozen = mk.F32(ps.frozen)
	}
	for _, p := range slices.Concat(ps.List, ps.Added) {
		switch {
		case p.held:
		case p.Frozen:
			p.Value = mk.View(ps.Frozen, p.offset, p.Shape...)
		default:
			p.Value = mk.View(ps.Value, p.offset, p.Shape...)
			p.Grad = mk.View(ps.Grad, p.offset, p.Shape...)
		}
		if p.masked {
			p.Mask = mk.F32(p.Shape...)
		}
	}
}
