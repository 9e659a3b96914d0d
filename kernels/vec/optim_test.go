package vec

import (
	"math"
	"testing"

	"mito/kernels/ref"
)

func TestAdamW(t *testing.T) {
	r := rng(t)
	const n, lr, b1, b2, eps, decay, clip = 37, 1e-2, 0.9, 0.99, 1e-8, 0.1, 0.5
	p := normal(r, n, 1)
	m, v := make([]float32, n), make([]float32, n)
	p64, m64, v64 := wide(p), wide(m), wide(v)
	f := func(x float32) float64 { return float64(x) }
	for step := 1; step <= 20; step++ {
		g := normal(r, n, 1)
		o := AdamWArgs{LR: lr, Beta1: b1, Beta2: b2, Eps: eps, WeightDecay: decay, GradScale: clip,
			BiasCorr1: BiasCorrection(b1, int64(step)), BiasCorr2: BiasCorrection(b2, int64(step))}
		AdamW(p, g, m, v, o)
		for i := range p64 {
			p64[i], m64[i], v64[i] = ref.AdamW(p64[i], clip*f(g[i]), m64[i], v64[i],
				f(o.LR), f(o.Beta1), f(o.Beta2), f(o.Eps), f(o.WeightDecay), step)
		}
	}
	// 1-Beta loses digits: it is exact in float32, but Beta was rounded the same way on both sides.
	// Each of 20 steps rounds p twice; the moments three times, of which the first forgets most, having terms of either sign.
	nearAll(t, "p", p, p64, within{20, 2})
	nearAll(t, "m", m, m64, within{8, 0.5})
	nearAll(t, "v", v, v64, within{math.Sqrt(3 * 20), 0})
}

func TestBiasCorrection(t *testing.T) {
	for _, step := range []int64{1, 2, 3, 10, 1000, 1_000_000} {
		near(t, "BiasCorrection", float64(BiasCorrection(0.999, step)), 1-math.Pow(float64(float32(0.999)), float64(step)), within{1, 0})
	}
}

func TestNothingAllocates(t *testing.T) {
	r := rng(t)
	n := 600
	x, y, z, d := normal(r, n, 1), normal(r, n, 1), normal(r, n, 1), make([]float32, n)
	q, acc := make([]int8, n), make([]int32, n)
	p := make([]float32, n)
	Softmax(p, x)
	for name, f := range map[string]func(){
		"Softmax":        func() { var s [64]float32; Softmax(s[:], x[:64]) },
		"CrossEntropy":   func() { CrossEntropyRow(d, x, 1, 0.1, 1, true) },
		"KL":             func() { KLRow(d, x, p, 2, 1) },
		"KLTopK":         func() { KLTopKRow(d, x, []int32{1, 2}, p[:2], 0.5, 2, 1) },
		"AdamW":          func() { AdamW(d, x, y, p, AdamWArgs{BiasCorr1: 1, BiasCorr2: 1}) },
		"RMSNorm":        func() { var s [64]float32; RMSNorm(s[:], x[:64], y[:64], 1) },
		"RMSNormBack":    func() { RMSNormBackward(d, z, x, y, p, 1) },
		"LayerNormBack":  func() { LayerNormBackward(d, z, z, x, y, p, 0, 1) },
		"QuantizeRow":    func() { var s [64]int8; QuantizeRow(s[:], x[:64]); QuantizeRow(q, x) },
		"AddScaleInt32":  func() { AddScaleInt32(d, acc, 1, x) },
		"SwiGLUBackward": func() { SwiGLUBackward(d, z, x, y, p) },
	} {
		if a := testing.AllocsPerRun(10, f); a != 0 {
			t.Errorf("%s allocates %v times", name, a)
		}
	}
}
