package model

import (
	"math"

	"mito/backend"
	"mito/engine/arch"
)

// activation is the backend's name for a non-gated activation.
func activation(c *arch.Config) backend.Activation {
	switch c.Activation {
	case arch.ActReLU:
		return backend.ReLU
	case arch.ActReLU2:
		return backend.ReLU2
	default:
		return backend.GELU
	}
}

// RoPETables computes the cosines and sines of RoPE, arXiv:2104.09864: angle = position·θ^(-2i/D).
//
//	cos, sin [P,D/2]
func RoPETables(c arch.Config) (cos, sin []float32) {
	half := c.HeadDim / 2
	cos = make([]float32, c.Context*half)
	sin = make([]float32, c.Context*half)
	for i := range half {
		freq := math.Pow(c.RoPETheta, -2*float64(i)/float64(c.HeadDim))
		for p := range c.Context {
			s, co := math.Sincos(float64(p) * freq)
			cos[p*half+i], sin[p*half+i] = float32(co), float32(s)
		}
	}
	return cos, sin
}
