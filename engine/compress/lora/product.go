package lora

import (
	"hash/fnv"
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/model"
)

// Tensors of an adapter, behind the name of their module.
const (
	suffixA = ".lora_A"
	suffixB = ".lora_B"
)

// Products gives the modules of a model their adapters; all else keeps the product that it has. Use it as model.Options.Product,
// with nothing else trained.
func (c *Config) Products(modules []arch.Module) func(*model.Linear, *model.Declarer) model.Product {
	adapts := map[string]bool{}
	for _, m := range modules {
		adapts[m.Name] = true
	}
	return func(l *model.Linear, own *model.Declarer) model.Product {
		if !adapts[l.Module.Name] {
			return nil
		}
		h := fnv.New64a()
		h.Write([]byte(l.Module.Name))
		return &product{
			Product: l.Product, scale: c.Scale(), rate: float32(c.Dropout), seed: h.Sum64(),
			a: own.Declare(l.Module.Name+suffixA, model.Matrix, false, c.Rank, l.Module.Cols),
			b: own.Declare(l.Module.Name+suffixB, model.Matrix, true, l.Module.Rows, c.Rank),
		}
	}
}

// Init is how fresh adapters are drawn: A with the variance of PEFT's, 1/(3·in); B is zero.
func Init() model.Init { return model.Init{FanIn: 1 / math.Sqrt(3)} }

// product is a linear layer with an adapter beside it.
type product struct {
	model.Product              // of the base
	a, b          *model.Param // [r,in], [out,r]
	scale, rate   float32
	seed          uint64 // of the module's dropout masks
}

type state struct {
	base    model.State
	ax, da  *tensor.Dense // [N,r]: A·x, and the gradient of it
	dropped *tensor.Dense // [N,in] what the adapter reads where there is dropout, then its gradient; nil without
	rows    int
	mask    backend.DropoutArgs
	p       *product
}

// State implements model.Product.
func (p *product) State(mk *model.Maker, rows int, training bool) model.State {
	s := &state{base: p.Product.State(mk, rows, training), ax: mk.F32(rows, p.a.Shape[0]), rows: rows, p: p}
	if training {
		s.da = mk.F32(rows, p.a.Shape[0])
	}
	if training && p.rate > 0 {
		s.dropped = mk.F32(rows, p.a.Shape[1])
		return &droppingState{s}
	}
	return s
}

// droppingState is a state whose masks have a place in the batch.
type droppingState struct{ *state }

// Place implements model.Placer.
func (s *droppingState) Place(a *model.Activations) { s.mask = a.Mask(s.p.rate, s.p.seed, s.rows) }

func stateOf(s model.State) *state {
	if d, ok := s.(*droppingState); ok {
		return d.state
	}
	return s.(*state)
}

// Forward implements model.Product: y = base(x) + s·B·(A·dropout(x)).
func (p *product) Forward(b backend.Backend, y, x *tensor.Dense, st model.State) error {
	s := stateOf(st)
	if err := p.Product.Forward(b, y, x, s.base); err != nil {
		return err
	}
	if s.dropped != nil {
		if err := b.Dropout(s.dropped, x, s.mask); err != nil {
			return err
		}
		x = s.dropped
	}
	return backend.First(
		b.MatMul(s.ax, x, p.a.Value, backend.MatMulArgs{TransB: true}),
		b.MatMul(y, s.ax, p.b.Value, backend.MatMulArgs{TransB: true, Alpha: p.scale, Accumulate: true}),
	)
}

// Backward implements model.Product.
func (p *product) Backward(b backend.Backend, dx, dy, x *tensor.Dense, st model.State, addDX bool) error {
	s := stateOf(st)
	read := x
	if s.dropped != nil {
		read = s.dropped
	}
	if err := backend.First(
		p.Product.Backward(b, dx, dy, x, s.base, addDX),
		b.MatMul(p.b.Grad, dy, s.ax, backend.MatMulArgs{TransA: true, Alpha: p.scale, Accumulate: true}),
		b.MatMul(s.da, dy, p.b.Value, backend.MatMulArgs{Alpha: p.scale}),
		b.MatMul(p.a.Grad, s.da, read, backend.MatMulArgs{TransA: true, Accumulate: true}),
	); err != nil || dx == nil {
		return err
	}
	if s.dropped == nil {
		return b.MatMul(dx, s.da, p.a.Value, backend.MatMulArgs{Accumulate: true})
	}
	return backend.First(
		b.MatMul(s.dropped, s.da, p.a.Value, backend.MatMulArgs{}),
		b.Dropout(s.dropped, s.dropped, s.mask),
		b.Add(dx, dx, s.dropped),
	)
}
