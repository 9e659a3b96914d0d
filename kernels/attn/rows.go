package attn

import (
	"math"
	"unsafe"

	"mito/kernels/isa"
	"mito/kernels/vec"
)

//go:generate go run -C ../_asm ./attnrows -out ../attn/rows_amd64.s -stubs ../attn/stubs_rows_amd64.go -pkg attn

// rowUnit is what the lengths of rows are multiples of, so that the kernels have no tails. Places that no key is seen at
// are filled with minus infinity, whose probability is zero.
const rowUnit = 16

var minusInf = float32(math.Inf(-1))

// rowFuncs is one variant of what happens to rows of scores.
type rowFuncs struct {
	// softmax raises the running maximum and makes probabilities, not yet divided by their sum:
	//
	//	newTop = max(top, scale·max(x)); x[i] = exp(scale·x[i] - newTop); sum = Σ x
	softmax func(x *float32, n int, scale, top float32) (newTop, sum float32)
	// grad makes probabilities of scores and gradients of unscaled scores of gradients of probabilities:
	//
	//	s[i] = exp(scale·s[i] - lse); dp[i] = s[i]·(dp[i] - delta)·scale
	grad func(s, dp *float32, n int, scale, lse, delta float32)
}

var rowKernels = isa.New("attn", append([]isa.Impl[rowFuncs]{
	{Name: isa.Generic, Funcs: rowFuncs{softmaxRowGeneric, gradRowGeneric}},
}, rowVariants()...)...)

// Variants returns the variants of the row kernels of Forward and Backward that are usable here, slowest first; Variant
// the chosen one; SetVariant chooses (for tests, verification and benchmarks; not while attention runs). The products
// follow the variant of package gemm, decoding has variants of its own.
func Variants() []string           { return rowKernels.Variants() }
func Variant() string              { return rowKernels.Variant() }
func SetVariant(name string) error { return rowKernels.SetVariant(name) }

func softmaxRowGeneric(px *float32, n int, scale, top float32) (newTop, sum float32) {
	x := unsafe.Slice(px, n)
	newTop = max(top, vec.Max(x)*scale)
	expRow(x, scale, newTop)
	return newTop, vec.Sum(x)
}

func gradRowGeneric(ps, pd *float32, n int, scale, lse, delta float32) {
	s, dp := unsafe.Slice(ps, n), unsafe.Slice(pd, n)
	expRow(s, scale, lse)
	for i, p := range s {
		dp[i] = float32(float32(p*(dp[i]-delta)) * scale)
	}
}

func expRow(x []float32, scale, shift float32) {
	for i, v := range x {
		x[i] = float32(v*scale) - shift
	}
	vec.Exp(x, x)
}

// framed returns the part of a row that the kernels work on, with the places around lo <= i < hi set to edge in it and
// to zero outside.
func framed(row []float32, lo, hi int, edge float32) []float32 {
	from, to := lo&^(rowUnit-1), (hi+rowUnit-1)&^(rowUnit-1)
	clear(row[:from])
	for i := from; i < lo; i++ {
		row[i] = edge
	}
	for i := hi; i < to; i++ {
		row[i] = edge
	}
	clear(row[to:])
	return row[from:to]
}
