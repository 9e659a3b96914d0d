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

// Init is how fresh adapters are drawn: A with γ times the standard deviation of PEFT's, √(1/(3·in)); B is zero. Adam moves both factors by
// as much in a step, so that with γ, and s divided by it, B learns γ times as fast beside A (LoRA+, arXiv:2402.12354).
func Init(gamma float64) model.Init { return model.Init{FanIn: gamma / math.Sqrt(3)} }

// product is a linear layer with an adapter. A pass adds the adapter to the weight once, W' = W + s·B·A, and then multiplies by
// W' as a layer without an adapter does; only the gradients of the factors take products of their own, thin ones. Where the
// adapter reads what dropout left of x, or the base is no plain frozen product, the adapter is computed beside the base.
type product struct {
	model.Product              // of the base
	a, b          *model.Param // [r,in], [out,r]
	scale, rate   float32
	seed          uint64 // of the module's dropout masks
}

type state struct {
	base    model.State
	ax, da  *tensor.Dense // [N,r]: s·A·x, and s·Bᵀ times the gradient of y
	merged  *tensor.Dense // [out,in] W', or nil
	sum     model.Dense   // the product by W'
	dropped *tensor.Dense // [N,in] what the adapter reads where there is dropout, then its gradient; nil without
	rows    int
	mask    backend.DropoutArgs
	p       *product
}

// State implements model.Product.
func (p *product) State(mk *model.Maker, rows int, training bool) model.State {
	s := &state{rows: rows, p: p}
	drops := training && p.rate > 0
	if plain, ok := p.Product.(model.Dense); ok && !drops && (plain.W.Frozen || !training) {
		s.merged = mk.F32(p.b.Shape[0], p.a.Shape[1])
		s.sum = model.Dense{W: &model.Param{Value: s.merged}, B: plain.B}
	} else {
		s.base = p.Product.State(mk, rows, training)
	}
	if training || s.merged == nil {
		s.ax = mk.F32(rows, p.a.Shape[0])
	}
	if training {
		s.da = mk.F32(rows, p.a.Shape[0])
	}
	if drops {
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

// Forward implements model.Product: y = x·(W + s·B·A)ᵀ, or y = base(x) + s·B·(A·dropout(x)).
func (p *product) Forward(b backend.Backend, y, x *tensor.Dense, st model.State) error {
	s := stateOf(st)
	if s.merged != nil {
		return backend.First(
			b.Copy(s.merged, p.Product.(model.Dense).W.Value),
			b.MatMul(s.merged, p.b.Value, p.a.Value, backend.MatMulArgs{Alpha: p.scale, Accumulate: true}),
			s.sum.Forward(b, y, x, nil),
		)
	}
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
		p.inner(b, s, x),
		b.MatMul(y, s.ax, p.b.Value, backend.MatMulArgs{TransB: true, Accumulate: true}),
	)
}

// inner sets s.ax. The scale is here, so that the products that follow have none.
func (p *product) inner(b backend.Backend, s *state, x *tensor.Dense) error {
	return b.MatMul(s.ax, x, p.a.Value, backend.MatMulArgs{TransB: true, Alpha: p.scale})
}

// Backward implements model.Product.
func (p *product) Backward(b backend.Backend, dx, dy, x *tensor.Dense, st model.State, addDX bool) error {
	s := stateOf(st)
	read := x
	if s.dropped != nil {
		read = s.dropped
	}
	if s.merged != nil {
		if err := backend.First(s.sum.Backward(b, dx, dy, x, nil, addDX), p.inner(b, s, x)); err != nil {
			return err
		}
	} else if err := p.Product.Backward(b, dx, dy, x, s.base, addDX); err != nil {
		return err
	}
	if err := backend.First(
		b.MatMul(p.b.Grad, dy, s.ax, backend.MatMulArgs{TransA: true, Accumulate: true}),
		b.MatMul(s.da, dy, p.b.Value, backend.MatMulArgs{Alpha: p.scale}),
		b.MatMul(p.a.Grad, s.da, read, backend.MatMulArgs{TransA: true, Accumulate: true}),
	); err != nil || dx == nil || s.merged != nil {
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
