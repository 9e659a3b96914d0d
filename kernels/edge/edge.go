package edge

import (
	"mito/kernels/isa"
	"mito/kernels/vec"
)

//go:generate go run -C ../_asm ./edge -out ../edge/edge_amd64.s -stubs ../edge/stubs_amd64.go -pkg edge

// funcs are the kernels of one variant. They take sizes that are multiples of 16 (half: of 4) and return false, perhaps with part
// written, when the scale would be zero or something is not finite.
type funcs struct {
	rmsNormQuantize func(q *int8, h, x, gain *float32, n int, count, eps float32, scale *float32) bool
	residualNorm    func(q *int8, h, x, gain *float32, n int, count, eps float32, scale *float32, acc *int32, ws *float32, xs float32) bool
	relu2Quantize   func(q *int8, h *float32, acc *int32, ws *float32, n int, xs float32, scale *float32) bool
	ropeHeads       func(x, cos, sin *float32, heads, half int)
}

var kernels = isa.New("edge", append([]isa.Impl[funcs]{{Name: isa.Generic}}, variants()...)...)

// Variants returns the names of the variants that this processor can run, slowest first.
func Variants() []string { return kernels.Variants() }

// Variant returns the name of the chosen variant.
func Variant() string { return kernels.Variant() }

// SetVariant chooses a variant by name. It is for tests, verification and benchmarks, and must not run while a kernel does.
func SetVariant(name string) error { return kernels.SetVariant(name) }

// RMSNormQuantize is vec.RMSNorm(h, x, gain, eps) and then vec.QuantizeRow(q, h), whose scale it returns. What it leaves
// in h is not specified.
//
//	q [n] i8   h, x, gain [n] f32
func RMSNormQuantize(q []int8, h, x, gain []float32, eps float32) (scale float32) {
	n := len(q)
	h, x, gain = h[:n], x[:n], gain[:n]
	if f := kernels.Funcs().rmsNormQuantize; f != nil && n > 0 && n%16 == 0 {
		if f(&q[0], &h[0], &x[0], &gain[0], n, float32(n), eps, &h[0]) {
			return h[0]
		}
	}
	vec.RMSNorm(h, x, gain, eps)
	return vec.QuantizeRow(q, h)
}

// ResidualRMSNormQuantize is vec.AddScaleInt32(x, acc, xs, ws), vec.RMSNorm(h, x, gain, eps) and then vec.QuantizeRow(q, h),
// whose scale it returns. What it leaves in h is not specified.
//
//	q [n] i8   h, x, gain, ws [n] f32   acc [n] i32
func ResidualRMSNormQuantize(q []int8, h, x, gain []float32, eps float32, acc []int32, xs float32, ws []float32) (scale float32) {
	n := len(q)
	h, x, gain, acc, ws = h[:n], x[:n], gain[:n], acc[:n], ws[:n]
	if f := kernels.Funcs().residualNorm; f != nil && n > 0 && n%16 == 0 {
		if f(&q[0], &h[0], &x[0], &gain[0], n, float32(n), eps, &h[0], &acc[0], &ws[0], xs) {
			return h[0]
		}
	} else {
		vec.AddScaleInt32(x, acc, xs, ws)
	}
	vec.RMSNorm(h, x, gain, eps)
	return vec.QuantizeRow(q, h)
}

// ReLU2Quantize is vec.ScaleInt32(h, acc, xs, ws), vec.ReLU2(h, h) and then vec.QuantizeRow(q, h), whose scale it returns.
// What it leaves in h is not specified.
//
//	q [n] i8   h, ws [n] f32   acc [n] i32
func ReLU2Quantize(q []int8, h []float32, acc []int32, xs float32, ws []float32) (scale float32) {
	n := len(q)
	h, acc, ws = h[:n], acc[:n], ws[:n]
	if f := kernels.Funcs().relu2Quantize; f != nil && n > 0 && n%16 == 0 {
		if f(&q[0], &h[0], &acc[0], &ws[0], n, xs, &h[0]) {
			return h[0]
		}
	}
	vec.ScaleInt32(h, acc, xs, ws)
	vec.ReLU2(h, h)
	return vec.QuantizeRow(q, h)
}

// RoPEHeads is vec.RoPE of every head of x.
//
//	x [heads,D] f32   cos, sin [D/2] f32
func RoPEHeads(x []float32, dim int, cos, sin []float32) {
	half := dim / 2
	cos, sin = cos[:half], sin[:half]
	if f := kernels.Funcs().ropeHeads; f != nil && half > 0 && half%4 == 0 {
		if heads := len(x) / dim; heads > 0 {
			f(&x[0], &cos[0], &sin[0], heads, half)
		}
		return
	}
	for ; len(x) >= dim && dim > 0; x = x[dim:] {
		vec.RoPE(x[:dim], cos, sin, false)
	}
}
