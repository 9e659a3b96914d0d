package vec

import (
	"fmt"
	"testing"

	"mito/kernels/kerneltest"
)

// Bytes are those read and written by an ideal implementation that keeps nothing in cache between passes.
var benchmarks = []struct {
	name  string
	bytes int // per element
	run   func(o *operands)
}{
	{"Add", 12, func(o *operands) { Add(o.f[0], o.f[1], o.f[2]) }},
	{"Axpy", 12, func(o *operands) { Axpy(o.f[0], 1e-3, o.f[1]) }},
	{"Sum", 4, func(o *operands) { sink = Sum(o.f[1]) }},
	{"Dot", 8, func(o *operands) { sink = Dot(o.f[1], o.f[2]) }},
	{"Exp", 8, func(o *operands) { Exp(o.f[0], o.f[1]) }},
	{"Softmax", 8, func(o *operands) { Softmax(o.f[0], o.f[1]) }},
	{"RMSNorm", 12, func(o *operands) { sink = RMSNorm(o.f[0], o.f[1], o.f[2], 1e-5) }},
	{"RMSNormBackward", 24, func(o *operands) { RMSNormBackward(o.f[0], o.f[3], o.f[1], o.f[2], o.f[4], 0.7) }},
	{"LayerNormBackward", 32, func(o *operands) { LayerNormBackward(o.f[0], o.f[3], o.f[4], o.f[1], o.f[2], o.f[5], 0.1, 0.7) }},
	{"QuantizeRow", 5, func(o *operands) { sink = QuantizeRow(o.q, o.f[1]) }},
	{"ScaleInt32", 12, func(o *operands) { ScaleInt32(o.f[0], o.acc, 0.3, o.f[1]) }},
	{"ReLU2", 8, func(o *operands) { ReLU2(o.f[0], o.f[1]) }},
	{"GELU", 8, func(o *operands) { GELU(o.f[0], o.f[1]) }},
	{"GELUBackward", 12, func(o *operands) { GELUBackward(o.f[0], o.f[1], o.f[2]) }},
	{"SwiGLU", 12, func(o *operands) { SwiGLU(o.f[0], o.f[1], o.f[2]) }},
	{"RoPE", 12, func(o *operands) {
		h := len(o.f[0]) / 2
		RoPE(o.f[0], o.f[1][:h], o.f[2][:h], false)
	}},
	{"CrossEntropyRow", 8, func(o *operands) { sink = CrossEntropyRow(o.f[0], o.f[1], 0, 0, 1, false) }},
	{"KLRow", 16, func(o *operands) { sink = KLRow(o.f[3], o.f[1], o.f[4], 2, 1e-9) }},
	{"AdamW", 28, func(o *operands) {
		AdamW(o.f[0], o.f[1], o.f[2], o.f[3], AdamWArgs{LR: 1e-3, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1,
			BiasCorr1: 0.1, BiasCorr2: 0.01, GradScale: 1})
	}},
}

var sink float32

// BenchmarkKernels prints GB/s of ideal traffic for rows that fit the first cache.
func BenchmarkKernels(b *testing.B) {
	chosen := Variant()
	defer set(b, chosen)
	r := kerneltest.Rand(b.Name())
	for _, c := range benchmarks {
		for _, n := range []int{24, 64, 384, 1024} {
			for _, v := range Variants() {
				b.Run(fmt.Sprintf("%s/n=%d/%s", c.name, n, v), func(b *testing.B) {
					set(b, v)
					o := plainOperands(n)
					for i := range o.f {
						kerneltest.Normal(r, o.f[i])
					}
					Softmax(o.f[4], o.f[4])
					clear(o.f[3])
					b.SetBytes(int64(n * c.bytes))
					for b.Loop() {
						c.run(o)
					}
				})
			}
		}
	}
}
