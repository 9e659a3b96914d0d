package gemm

import (
	"fmt"

	"mito/kernels/blocks"
	"mito/kernels/parallel"
)

// Args describes one product C [M,N] = A [M,K] · (Alpha·B) [K,N] (+ C or Bias). All matrices are row-major.
type Args struct {
	M, N, K int

	A      []float32 // A[i,k] = A[i*LDA+k], or A[k*LDA+i] with TransA
	LDA    int
	TransA bool

	B      []float32 // B[k,j] = B[k*LDB+j], or B[j*LDB+k] with TransB
	LDB    int
	TransB bool

	// Alpha multiplies the elements of B, each product rounded once, before the chains begin: sums that are carried on
	// from C have the bits of one long sum. 0 means 1, which changes no bit.
	Alpha float32

	C          []float32 // C[i,j] = C[i*LDC+j]; overlaps neither A nor B
	LDC        int
	Accumulate bool      // C += A·B; excludes Bias
	Bias       []float32 // [N], added once to every row, or nil

	// Live lists the blocks of B, as it is stored, that are not zero; nil for all. The others may be left out.
	Live *blocks.Index
	// Wanted lists the blocks of C that are asked for; nil for all. The others are computed or left as they are.
	Wanted *blocks.Index
}

// Gemm computes C = A·αB, C = A·αB + Bias or C += A·αB on the threads of p (nil: on the caller). It allocates nothing in
// steady state. It panics when a slice is too short for its matrix or a leading dimension too small.
func Gemm(a *Args, p *parallel.Pool) {
	a.check()
	if a.M == 0 || a.N == 0 {
		return
	}
	if (a.Live != nil || a.Wanted != nil) && blockProduct(a, dispatch.Funcs(), p) {
		return
	}
	j := jobs.Get()
	defer jobs.Put(j)
	j.run(a, p)
}

func (a *Args) check() {
	if a.M < 0 || a.N < 0 || a.K < 0 {
		panic(fmt.Sprintf("gemm: negative size M %d N %d K %d", a.M, a.N, a.K))
	}
	checkMatrix("A", a.A, a.M, a.K, a.LDA, a.TransA)
	checkMatrix("B", a.B, a.K, a.N, a.LDB, a.TransB)
	checkMatrix("C", a.C, a.M, a.N, a.LDC, false)
	checkBlocks("B", a.Live, a.K, a.N, a.TransB)
	checkBlocks("C", a.Wanted, a.M, a.N, false)
	if a.Bias != nil {
		if len(a.Bias) < a.N {
			panic(fmt.Sprintf("gemm: Bias has %d elements, N is %d", len(a.Bias), a.N))
		}
		if a.Accumulate {
			panic("gemm: Bias and Accumulate exclude each other")
		}
	}
}

func checkBlocks(name string, x *blocks.Index, rows, cols int, trans bool) {
	if trans {
		rows, cols = cols, rows
	}
	if x != nil && (x.N != rows || x.K != cols) {
		panic(fmt.Sprintf("gemm: blocks of [%d,%d] for %s [%d,%d]", x.N, x.K, name, rows, cols))
	}
}

func checkMatrix(name string, s []float32, rows, cols, ld int, trans bool) {
	if trans {
		rows, cols = cols, rows
	}
	if rows == 0 || cols == 0 {
		return
	}
	if ld < cols {
		panic(fmt.Sprintf("gemm: leading dimension of %s is %d, its rows have %d elements", name, ld, cols))
	}
	// Divided rather than multiplied: the product could overflow.
	if rows-1 > (len(s)-cols)/ld || len(s) < cols {
		panic(fmt.Sprintf("gemm: %s has %d elements, %d rows of %d with leading dimension %d need more", name, len(s), rows, cols, ld))
	}
}

// Variants returns the variants usable here, slowest first; Variant the chosen one; SetVariant chooses (for tests,
// verification and benchmarks; not while a product runs).
func Variants() []string           { return dispatch.Variants() }
func Variant() string              { return dispatch.Variant() }
func SetVariant(name string) error { return dispatch.SetVariant(name) }
