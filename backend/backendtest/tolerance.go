package backendtest

import (
	"math"

	"mito/kernels/kerneltest"
)

// Options says what the backend under test promises beyond the seam.
type Options struct {
	// FactorEps is the unit roundoff of the factors of matrix products and attention: 2^-8 for bfloat16. Zero
	// means that they are not rounded.
	FactorEps float64
	// Bitwise: rows computed in pieces have the bits of one call (the CPU backend).
	Bitwise bool
	// ChecksValues: ids, positions, block indices and weights of -128 are refused by the operation (backends whose
	// memory the host can read).
	ChecksValues bool
}

// rule bounds the error of an operation's result by
//
//	(c·eps·√k + f·FactorEps) · max(|want|, size)
//
// where k is the length of the longest sum behind an element and size the root mean square of the tensor, or the size
// of the summands where the case states it. c counts the roundings of an element outside sums, times 4 for normal
// inputs whose terms exceed their root mean square; f does the same for the rounded factors of products.
type rule struct{ c, f float64 }

var rules = map[string]rule{
	"MatMul":  {c: 4, f: 2.1}, // four standard deviations of a random walk; both factors rounded
	"SumRows": {c: 4},

	"Add":              {c: 1},
	"Mul":              {c: 1},
	"Activate":         {c: 16}, // exp to 2 ulp, a quotient, three products
	"ActivateBackward": {c: 32},
	"SwiGLU":           {c: 16},
	"SwiGLUBackward":   {c: 32},
	"Dropout":          {c: 4},
	"Softmax":          {c: 32}, // scores up to 8 times their rounding, twice

	"RMSNorm":           {c: 16},
	"RMSNormBackward":   {c: 32},
	"LayerNorm":         {c: 16},
	"LayerNormBackward": {c: 32},

	"Embed":         {c: 1},
	"EmbedBackward": {c: 4},
	"RoPE":          {c: 8},

	"Attention":         {c: 64, f: 32}, // an error of a score is a relative error of a probability: |q·k| up to 16
	"AttentionBackward": {c: 128, f: 64},

	"CrossEntropy": {c: 32},
	"Distill":      {c: 64},
	"DistillTopK":  {c: 64},
	"Sum":          {c: 4},

	"SumSquares": {c: 4},
	"ClipScale":  {c: 4},
	"AdamW":      {c: 32},
	// Small singular values grow by 3.4445 in each of five iterations, and rounding errors with them: 485 times.
	"Muon": {c: 2000, f: 64},
	"Lerp": {c: 8},
}

// limit is the tolerance of element i of want.
func (o Options) limit(op string, k int, want []float64, size func(i int) float64) func(i int) float64 {
	r, ok := rules[op]
	if !ok {
		return func(int) float64 { return 0 }
	}
	rel := r.c*kerneltest.Eps*math.Sqrt(float64(max(k, 1))) + r.f*o.FactorEps
	if size == nil {
		s := rms(want)
		size = func(int) float64 { return s }
	}
	return func(i int) float64 { return rel * math.Max(math.Abs(want[i]), size(i)) }
}

func rms(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v * v
	}
	return math.Sqrt(s / float64(max(len(x), 1)))
}

// even is the size of every element.
func even(v float64) func(int) float64 { return func(int) float64 { return v } }
