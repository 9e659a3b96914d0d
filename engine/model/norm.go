package model

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Norm is RMSNorm, or LayerNorm where it has statistics of the mean.
type Norm struct {
	Gain, Bias *Param // [C]; Bias only with LayerNorm
	layer      bool
	eps        float32
	rounding   Rounding // or nil

	dGain, dBias *tensor.Dense // where the gradients go; those of a frozen norm are not read
}

// normStats is what the backward pass of a Norm needs from its forward pass.
type normStats struct{ mean, rstd *tensor.Dense }

func newNorm(c *arch.Config, d declared) Norm {
	return Norm{Gain: d.weight, Bias: d.bias, eps: c.NormEps, layer: c.Norm == arch.NormLayer}
}

// allocate finds a place for the gradients.
func (n *Norm) allocate(mk *Maker, grads bool) {
	if !grads {
		return
	}
	place := func(p *Param) *tensor.Dense {
		if p == nil || !p.Frozen {
			return grad(p)
		}
		return mk.F32(p.Shape...)
	}
	n.dGain, n.dBias = place(n.Gain), place(n.Bias)
}

func (n *Norm) trained() bool { return trains(n.Gain) || trains(n.Bias) }

// Forward computes y [N,C] from x [N,C], and with rounding y anew, in the student's order of sums.
func (n *Norm) Forward(b backend.Backend, y, x *tensor.Dense, s normStats) error {
	err := n.forward(b, y, x, s)
	if err != nil || n.rounding == nil || !n.rounding.On() {
		return err
	}
	kind := backend.RMS
	if n.layer {
		kind = backend.Layer
	}
	return b.StudentNorm(y, x, n.Gain.Value, value(n.Bias), kind, n.eps)
}

func (n *Norm) forward(b backend.Backend, y, x *tensor.Dense, s normStats) error {
	if !n.layer {
		return b.RMSNorm(y, s.rstd, x, n.Gain.Value, n.eps)
	}
	return b.LayerNorm(y, s.mean, s.rstd, x, n.Gain.Value, value(n.Bias), n.eps)
}

// Backward adds to the gradients of gain and bias, where they are trained, and sets dx, which may alias dy, or with add adds to it.
func (n *Norm) Backward(b backend.Backend, dx, dy, x *tensor.Dense, s normStats, add bool) error {
	if !n.layer {
		return b.RMSNormBackward(dx, n.dGain, dy, x, n.Gain.Value, s.rstd, add)
	}
	return b.LayerNormBackward(dx, n.dGain, n.dBias, dy, x, n.Gain.Value, s.mean, s.rstd, add)
}
