package ref

import "math"

// ReLU returns max(x, 0).
func ReLU(x float64) float64 { return math.Max(x, 0) }

// ReLU2 returns max(x, 0)². arXiv:2109.08668.
func ReLU2(x float64) float64 { return ReLU(x) * ReLU(x) }

// SiLU returns x/(1+e^-x). arXiv:1702.03118.
func SiLU(x float64) float64 { return x / (1 + math.Exp(-x)) }

// GELU returns x/2*(1+tanh(sqrt(2/π)(x+0.044715x³))). arXiv:1606.08415.
func GELU(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

// SwiGLU returns SiLU(gate)*up. arXiv:2002.05202.
func SwiGLU(gate, up float64) float64 { return SiLU(gate) * up }

// Slope returns the derivative of f at x by the central difference with step h.
func Slope(f func(float64) float64, x, h float64) float64 { return (f(x+h) - f(x-h)) / (2 * h) }
