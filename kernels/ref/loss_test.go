package ref

import (
	"math"
	"testing"
)

// The closed forms of the gradients agree with differences of the functions they belong to.
func TestGradients(t *testing.T) {
	logits := []float64{0.3, -1.2, 2, 0.7, -0.4}
	p := Softmax([]float64{1, 0.2, -0.5, 0.9, 0}, 1)
	ids, probs, tail := []int32{2, 0}, []float64{p[2], p[0]}, p[1]+p[3]+p[4]
	gain, dy := []float64{0.5, -1, 2, 1.5, 0.1}, []float64{1, 0.4, -0.7, 0.2, 2}
	dot := func(y []float64) (s float64) {
		for i, v := range y {
			s += v * dy[i]
		}
		return s
	}
	rms, _ := RMSNormBackward(dy, logits, gain, 1e-5)
	layer, _, _ := LayerNormBackward(dy, logits, gain, 1e-5)
	_, rmsGain := RMSNormBackward(dy, logits, gain, 1e-5)
	_, layerGain, _ := LayerNormBackward(dy, logits, gain, 1e-5)
	for _, c := range []struct {
		name string
		f    func(x []float64) float64
		at   []float64
		grad []float64
	}{
		{"cross-entropy", func(x []float64) float64 { return CrossEntropy(x, 1, 0.1) }, logits, CrossEntropyGrad(logits, 1, 0.1)},
		{"kl", func(x []float64) float64 { return KL(x, p, 2.5) }, logits, KLGrad(logits, p, 2.5)},
		{"kl top-k", func(x []float64) float64 { return KLTopK(x, ids, probs, tail, 2.5) }, logits, KLTopKGrad(logits, ids, probs, tail, 2.5)},
		{"rmsnorm", func(x []float64) float64 { y, _ := RMSNorm(x, gain, 1e-5); return dot(y) }, logits, rms},
		{"layernorm", func(x []float64) float64 { y, _, _ := LayerNorm(x, gain, nil, 1e-5); return dot(y) }, logits, layer},
		{"rmsnorm gain", func(g []float64) float64 { y, _ := RMSNorm(logits, g, 1e-5); return dot(y) }, gain, rmsGain},
		{"layernorm gain", func(g []float64) float64 { y, _, _ := LayerNorm(logits, g, nil, 1e-5); return dot(y) }, gain, layerGain},
	} {
		for i, want := range Gradient(c.f, c.at, 1e-5) {
			if math.Abs(c.grad[i]-want) > 1e-8 {
				t.Errorf("%s: element %d is %v, by differences %v", c.name, i, c.grad[i], want)
			}
		}
	}
}

// Newton-Schulz brings all singular values near one: XXᵀ of the result is near the identity.
func TestNewtonSchulz(t *testing.T) {
	x := []float64{3, 1, -2, 0.5, 1, -1, 4, 2}
	for _, c := range []struct{ m, n int }{{2, 4}, {4, 2}} {
		y := NewtonSchulz(x, c.m, c.n, 5)
		g := product(y, transpose(y, c.m, c.n), c.m, c.m, c.n)
		if c.m > c.n {
			g = product(transpose(y, c.m, c.n), y, c.n, c.n, c.m)
		}
		for i, v := range g {
			want := 0.0
			if i%3 == 0 {
				want = 1
			}
			// The polynomial oscillates between 0.7 and 1.2, its square between 0.5 and 1.45.
			if math.Abs(v-want) > 0.5 {
				t.Errorf("[%d,%d] element %d of the Gram matrix: %v", c.m, c.n, i, v)
			}
		}
	}
}
