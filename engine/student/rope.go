package student

import (
	"math"

	"mito/engine/arch"
)

// ropeTables computes the cosines and sines of RoPE by the arithmetic of SPEC.md: float64, every operation rounded once, no
// mathematical library. cos, sin [positions,D/2].
func ropeTables(positions, headDim int, theta float64) (cos, sin []float32) {
	half := headDim / 2
	cos, sin = make([]float32, positions*half), make([]float32, positions*half)
	lnTheta := ln64(theta)
	for i := range half {
		f := exp64(-(float64(float64(2*i)*lnTheta) / float64(headDim)))
		cf, sf := sincos64(f)
		c, s := 1.0, 0.0
		for p := range positions {
			cos[p*half+i], sin[p*half+i] = float32(c), float32(s)
			c, s = float64(c*cf)-float64(s*sf), float64(s*cf)+float64(c*sf)
		}
	}
	return cos, sin
}

const ln2 = 0x1.62e42fefa39efp-1

// ln64 returns ln x for x > 1: x = m·2^e with 0.5 ≤ m < 1, ln m = 2·atanh((m-1)/(m+1)).
func ln64(x float64) float64 {
	m, e := math.Frexp(x)
	z := (m - 1) / (m + 1)
	zz := float64(z * z)
	s := 1.0 / 47
	for k := 45; k >= 1; k -= 2 {
		s = float64(s*zz) + 1/float64(k)
	}
	return float64(float64(e)*ln2) + float64(float64(2*z)*s)
}

// exp64 returns e^x for -100 < x ≤ 0: the Taylor polynomial of e^(x/1024), squared ten times.
func exp64(x float64) float64 {
	y := x / 1024
	s := 1.0
	for k := 12; k >= 1; k-- {
		s = 1 + float64(float64(y*s)/float64(k))
	}
	for range 10 {
		s = float64(s * s)
	}
	return s
}

// sincos64 returns cos x and sin x for 0 < x ≤ 1 by their Taylor polynomials.
func sincos64(x float64) (c, s float64) {
	z := float64(x * x)
	c, s = 1, 1
	for k := 10; k >= 1; k-- {
		c = 1 - float64(z*c)/float64((2*k-1)*2*k)
		s = 1 - float64(z*s)/float64(2*k*(2*k+1))
	}
	return c, float64(x * s)
}

// RoPETables returns the tables of the first positions of a configuration with rotary positions, as every implementation
// computes them. cos, sin [positions,D/2].
func RoPETables(c arch.Config, positions int) (cos, sin []float32) {
	return ropeTables(positions, c.HeadDim, c.RoPETheta)
}

// RoPESteps returns cosine and sine [headDim/2] of the turn from one position to the next.
func RoPESteps(headDim int, theta float64) (cf, sf []float64) {
	cf, sf = make([]float64, headDim/2), make([]float64, headDim/2)
	lnTheta := ln64(theta)
	for i := range cf {
		cf[i], sf[i] = sincos64(exp64(-(float64(float64(2*i)*lnTheta) / float64(headDim))))
	}
	return cf, sf
}
