package model

import (
	"gorgonia.org/tensor"

	"mito/backend"
)

// first returns the first error of a sequence of operations. The operations after a failed one still run: they
// are checked one by one and their results are thrown away.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Linear is y = x·Wᵀ + b.
type Linear struct{ W, B *Param } // [out,in] and, where there is a bias, [out]

// Forward computes y [N,out] from x [N,in].
func (l *Linear) Forward(b backend.Backend, y, x *tensor.Dense) error {
	args := backend.MatMulArgs{TransB: true}
	if l.B != nil {
		args.Bias = l.B.Value
	}
	return b.MatMul(y, x, l.W.Value, args)
}

// Backward adds dW = dyᵀ·x and db = Σdy to the gradients and sets dx = dy·W, or adds that to dx. dx nil leaves
// it out.
func (l *Linear) Backward(b backend.Backend, dx, dy, x *tensor.Dense, addDX bool) error {
	err := b.MatMul(l.W.Grad, dy, x, backend.MatMulArgs{TransA: true, Accumulate: true})
	if err == nil && l.B != nil {
		err = b.SumRows(l.B.Grad, dy)
	}
	if err == nil && dx != nil {
		err = b.MatMul(dx, dy, l.W.Value, backend.MatMulArgs{Accumulate: addDX})
	}
	return err
}

// Norm is RMSNorm, or LayerNorm where it has statistics of the mean.
type Norm struct {
	Gain, Bias *Param // [C]; Bias only with LayerNorm
	layer      bool
	eps        float32
}

// normStats is what the backward pass of a Norm needs from its forward pass.
type normStats struct{ mean, rstd *tensor.Dense }

// Forward computes y [N,C] from x [N,C].
func (n *Norm) Forward(b backend.Backend, y, x *tensor.Dense, s normStats) error {
	if !n.layer {
		return b.RMSNorm(y, s.rstd, x, n.Gain.Value, n.eps)
	}
	return b.LayerNorm(y, s.mean, s.rstd, x, n.Gain.Value, value(n.Bias), n.eps)
}

// Backward adds to the gradients of gain and bias and sets dx, which may alias dy.
func (n *Norm) Backward(b backend.Backend, dx, dy, x *tensor.Dense, s normStats) error {
	if !n.layer {
		return b.RMSNormBackward(dx, n.Gain.Grad, dy, x, n.Gain.Value, s.rstd)
	}
	return b.LayerNormBackward(dx, n.Gain.Grad, grad(n.Bias), dy, x, n.Gain.Value, s.mean, s.rstd)
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
