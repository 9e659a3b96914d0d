package model

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Linear is y = x·Wᵀ + b, computed by a Product. It is the seam of every technique that changes how weights multiply:
// adapters, fake quantisers, INT8 or sparse weights. What a layer is built of does not know which it is.
type Linear struct {
	Module       arch.Module
	Weight, Bias *Param // [out,in] and, where there is a bias, [out]
	Product      Product

	added bool // the product declared parameters of its own
}

// trained says that a backward pass finds something to do here beside the gradient of the input.
func (l *Linear) trained() bool { return l.added || trains(l.Weight) || trains(l.Bias) }

func trains(p *Param) bool { return p != nil && !p.Frozen }

// Product is a way to multiply. It lives as long as the model and keeps nothing of a pass; that is in a State.
type Product interface {
	// State cuts from mk what a pass over rows keeps for its backward pass, and its scratch; nil for nothing. Without
	// training only Forward is called.
	State(mk *Maker, rows int, training bool) State
	// Forward sets y [N,out] from x [N,in].
	Forward(b backend.Backend, y, x *tensor.Dense, s State) error
	// Backward adds to the gradients of the parameters and sets dx = dy·W, or adds that to dx with addDX. dx nil leaves it
	// out. y is not kept; x is what Forward was given.
	Backward(b backend.Backend, dx, dy, x *tensor.Dense, s State, addDX bool) error
}

// State is what a Product keeps of one pass.
type State any

// Placer is a State with dropout of its own, whose masks depend on where the rows are in the batch. Place is called at the
// beginning of Forward; Activations.Mask gives what it needs. A replayed pass does not call it: whatever changes beside the row
// is in tensors.
type Placer interface {
	Place(a *Activations)
}

// Holder is a Product that keeps the weight in a form of its own, such as INT8 codes. The float32 parameter then takes no
// memory and is frozen.
type Holder interface {
	Product
	// Allocate cuts what the product keeps with the model.
	Allocate(mk *Maker)
	// Hold takes the weight [out·in], row-major.
	Hold(b backend.Backend, weight []float32) error
}

// Dense is the product of float32 weights. It is what a linear layer has where nothing else is asked for. Blocks that a mask
// hides may be left out.
type Dense struct{ W, B *Param }

// State implements Product: the weights are enough.
func (Dense) State(*Maker, int, bool) State { return nil }

// Forward implements Product.
func (d Dense) Forward(b backend.Backend, y, x *tensor.Dense, _ State) error {
	return b.MatMul(y, x, d.W.Value, backend.MatMulArgs{TransB: true, Bias: value(d.B), Live: d.W.Live})
}

// add sets y = stream + x·Wᵀ + b.
func (d Dense) add(b backend.Backend, y, stream, x *tensor.Dense) error {
	return b.MatMul(y, x, d.W.Value, backend.MatMulArgs{TransB: true, Bias: value(d.B), Add: stream, Live: d.W.Live})
}

// Backward implements Product: dW += dyᵀ·x and db += Σdy, where they are trained, and dx = dy·W.
func (d Dense) Backward(b backend.Backend, dx, dy, x *tensor.Dense, _ State, addDX bool) (err error) {
	if d.W.Grad != nil {
		args := backend.MatMulArgs{TransA: true, Accumulate: true, Wanted: d.W.Live}
		if d.W.Whole {
			args.Wanted = nil
		}
		err = b.MatMul(d.W.Grad, dy, x, args)
	}
	if err == nil && grad(d.B) != nil {
		err = b.SumRows(d.B.Grad, dy)
	}
	if err == nil && dx != nil {
		err = b.MatMul(dx, dy, d.W.Value, backend.MatMulArgs{Accumulate: addDX, Live: d.W.Live})
	}
	return err
}

func value(p *Param) *tensor.Dense {
	if p == nil {
		return nil
	}
	return p.Value
}

func grad(p *Param) *tensor.Dense {
	if p == nil {
		return nil
	}
	return p.Grad
}
