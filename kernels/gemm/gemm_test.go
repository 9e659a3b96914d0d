package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mito/kernels/kerneltest"
	"mito/kernels/parallel"
	"mito/kernels/ref"
)

func eachVariant(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	kerneltest.Variants(t, dispatch, f)
}

type start int

const (
	fromZero start = iota
	fromBias
	fromC
)

// problem returns guarded random operands. pad is added to every leading dimension.
func problem(t testing.TB, r *rand.Rand, m, n, k, pad int, transA, transB bool, from start, side kerneltest.Side) *Args {
	matrix := func(rows, cols int, trans bool) ([]float32, int) {
		if trans {
			rows, cols = cols, rows
		}
		ld := cols + pad
		if rows == 0 || cols == 0 {
			return nil, ld
		}
		return kerneltest.Normal(r, kerneltest.Guarded[float32](t, (rows-1)*ld+cols, side)), ld
	}
	a := &Args{M: m, N: n, K: k, TransA: transA, TransB: transB}
	a.A, a.LDA = matrix(m, k, transA)
	a.B, a.LDB = matrix(k, n, transB)
	a.C, a.LDC = matrix(m, n, false)
	switch from {
	case fromBias:
		a.Bias = kerneltest.Normal(r, kerneltest.Guarded[float32](t, n, side))
	case fromC:
		a.Accumulate = true
	}
	return a
}

// chain computes the contract, element by element, with the arithmetic of the chosen variant.
func chain(a *Args) []float32 {
	c := make([]float32, a.M*a.N)
	fused := Variant() != "generic"
	for i := range a.M {
		for j := range a.N {
			var s float32
			if a.Accumulate {
				s = a.C[i*a.LDC+j]
			} else if a.Bias != nil {
				s = a.Bias[j]
			}
			for k := range a.K {
				ai, bi := i*a.LDA+k, k*a.LDB+j
				if a.TransA {
					ai = k*a.LDA + i
				}
				if a.TransB {
					bi = j*a.LDB + k
				}
				b := a.B[bi]
				if a.Alpha != 0 {
					b = float32(a.Alpha * b)
				}
				if fused {
					s = fma32(a.A[ai], b, s)
				} else {
					s += float32(a.A[ai] * b)
				}
			}
			c[i*a.N+j] = s
		}
	}
	return c
}

// fma32 is the correctly rounded float32 fused multiply-add: the float64 product is exact, its sum with c is rounded to
// odd, which makes the second rounding harmless (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums",
// 2008).
func fma32(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	if math.IsInf(s, 0) || s != s {
		return float32(s)
	}
	v := s - p
	lost := (p - (s - v)) + (d - v)
	if lost != 0 && math.Float64bits(s)&1 == 0 {
		if (lost > 0) == (s > 0) {
			s = math.Float64frombits(math.Float64bits(s) + 1)
		} else {
			s = math.Float64frombits(math.Float64bits(s) - 1)
		}
	}
	return float32(s)
}

func compact(a *Args) []float32 {
	c := make([]float32, 0, a.M*a.N)
	for i := range a.M {
		if a.N > 0 {
			c = append(c, a.C[i*a.LDC:i*a.LDC+a.N]...)
		}
	}
	return c
}

var shapes = [][3]int{
	{1, 1, 1}, {1, 32, 7}, {2, 8, 3}, {3, 5, 2}, {6, 16, 9}, {7, 17, 31}, {12, 32, 64}, {13, 33, 65}, {25, 65, 96},
	{8, 96, 96}, {5, 97, 130}, {31, 31, 31}, {64, 16, 20}, {3, 300, 4}, {0, 5, 5}, {5, 0, 5}, {5, 5, 0}, {11, 24, 600},
	{4, 1, 1030}, {24, 48, 40}, {23, 70, 513}, {4, 35, 700}, {67, 4, 530}, {3, 600, 300}, {129, 6, 2000},
}

func TestGemmIsTheChain(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := kerneltest.Rand("chain")
		for i, s := range shapes {
			for form := range 4 {
				for from := fromZero; from <= fromC; from++ {
					side := kerneltest.Sides[(i+form)%2]
					a := problem(t, r, s[0], s[1], s[2], (i+form+int(from))%3*5, form&1 != 0, form&2 != 0, from, side)
					a.Alpha = []float32{0, 1, -0.37}[(i+2*form+int(from))%3]
					want := chain(a)
					padding := padOf(a)
					Gemm(a, nil)
					if err := kerneltest.Bits(compact(a), want); err != nil {
						t.Fatalf("M %d N %d K %d transA %v transB %v start %d: %v", s[0], s[1], s[2], a.TransA, a.TransB, from, err)
					}
					if err := kerneltest.Bits(padOf(a), padding); err != nil {
						t.Fatalf("M %d N %d K %d: written between the rows of C: %v", s[0], s[1], s[2], err)
					}
				}
			}
		}
	})
}

// padOf returns the elements between the rows of C.
func padOf(a *Args) []float32 {
	var p []float32
	for i := 0; i < a.M-1 && a.N > 0; i++ {
		p = append(p, a.C[i*a.LDC+a.N:(i+1)*a.LDC]...)
	}
	return p
}

// Every M from 1 to 3 tiles, every N from 1 to 3 panels, small K with tails.
func TestGemmTails(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := kerneltest.Rand("tails")
		for m := 1; m <= 3*maxMR; m++ {
			for _, n := range []int{1, 15, 16, 17, 32} {
				checkChain(t, problem(t, r, m, n, 1+m%9, 0, m%2 == 0, n%2 == 0, start(m%3), kerneltest.End))
			}
		}
		for n := 1; n <= 3*maxNR; n++ {
			checkChain(t, problem(t, r, 1+n%7, n, 1+n%11, n%2, n%2 == 0, n%3 == 0, start(n%3), kerneltest.Sides[n%2]))
		}
		for k := 1; k <= 40; k++ {
			checkChain(t, problem(t, r, 13, 33, k, 0, k%2 == 0, k%3 == 0, start(k%3), kerneltest.End))
		}
	})
}

func checkChain(t *testing.T, a *Args) {
	t.Helper()
	want := chain(a)
	Gemm(a, nil)
	if err := kerneltest.Bits(compact(a), want); err != nil {
		t.Fatalf("M %d N %d K %d transA %v transB %v: %v", a.M, a.N, a.K, a.TransA, a.TransB, err)
	}
}

func TestGemmAgainstFloat64(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := kerneltest.Rand("float64")
		for _, s := range [][3]int{{33, 65, 96}, {48, 40, 700}, {7, 130, 384}} {
			for form := range 4 {
				a := problem(t, r, s[0], s[1], s[2], 0, form&1 != 0, form&2 != 0, fromBias, kerneltest.End)
				want, abs := ref.Gemm(a.M, a.N, a.K, a.A, a.LDA, a.TransA, a.B, a.LDB, a.TransB, 1, a.Bias)
				Gemm(a, nil)
				tol := func(i int) float64 { return kerneltest.SumTolerance(a.K, abs[i]) }
				if err := kerneltest.Close(a.C, want, tol); err != nil {
					t.Errorf("M %d N %d K %d form %d: %v", s[0], s[1], s[2], form, err)
				}
			}
		}
	})
}

// The same product whole, on several threads, and cut in M, N and K must give the same bits.
func TestGemmSplitsAreInvisible(t *testing.T) {
	pools := []*parallel.Pool{parallel.New(2), parallel.New(3)}
	defer pools[0].Close()
	defer pools[1].Close()
	eachVariant(t, func(t *testing.T) {
		r := kerneltest.Rand("splits")
		for form := range 4 {
			a := problem(t, r, 61, 131, 600, 0, form&1 != 0, form&2 != 0, fromC, kerneltest.End)
			c0 := append([]float32(nil), a.C...)
			Gemm(a, nil)
			want := append([]float32(nil), a.C...)
			check := func(what string) {
				t.Helper()
				if err := kerneltest.Bits(a.C, want); err != nil {
					t.Errorf("transA %v transB %v, %s: %v", a.TransA, a.TransB, what, err)
				}
				copy(a.C, c0)
			}
			copy(a.C, c0)
			for _, p := range pools {
				Gemm(a, p)
				check(fmt.Sprintf("%d threads", p.Threads()))
			}
			for _, cuts := range [][]int{{0, 61}, {0, 1, 20, 61}, {0, 13, 50, 61}} {
				for i := 1; i < len(cuts); i++ {
					Gemm(a.sub(cuts[i-1], cuts[i], 0, a.N, 0, a.K), nil)
				}
				check(fmt.Sprint("M cut at ", cuts))
			}
			for _, cuts := range [][]int{{0, 1, 131}, {0, 47, 64, 131}} {
				for i := 1; i < len(cuts); i++ {
					Gemm(a.sub(0, a.M, cuts[i-1], cuts[i], 0, a.K), nil)
				}
				check(fmt.Sprint("N cut at ", cuts))
			}
			for _, cuts := range [][]int{{0, 1, 600}, {0, 511, 513, 520, 600}} {
				for i := 1; i < len(cuts); i++ {
					Gemm(a.sub(0, a.M, 0, a.N, cuts[i-1], cuts[i]), pools[0])
				}
				check(fmt.Sprint("K cut at ", cuts))
			}
		}
	})
}

// sub returns the part of an accumulating product.
func (a *Args) sub(i0, i1, j0, j1, k0, k1 int) *Args {
	s := *a
	s.M, s.N, s.K = i1-i0, j1-j0, k1-k0
	if a.TransA {
		s.A = a.A[k0*a.LDA+i0:]
	} else {
		s.A = a.A[i0*a.LDA+k0:]
	}
	if a.TransB {
		s.B = a.B[j0*a.LDB+k0:]
	} else {
		s.B = a.B[k0*a.LDB+j0:]
	}
	s.C = a.C[i0*a.LDC+j0:]
	return &s
}

func TestNonFiniteIsKept(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachVariant(t, func(t *testing.T) {
		r := kerneltest.Rand("nonfinite")
		for _, bad := range []float32{nan, inf, -inf} {
			a := problem(t, r, 13, 33, 50, 0, false, true, fromZero, kerneltest.End)
			a.A[7*a.LDA+20] = bad
			a.B[9*a.LDB+20] = 0 // 0·Inf is NaN, and must not be skipped as a zero
			checkChain(t, a)
			for j := range a.N {
				if c := float64(a.C[7*a.LDC+j]); !math.IsNaN(c) && !math.IsInf(c, 0) {
					t.Errorf("%v in A: C[7,%d] is %v", bad, j, c)
				}
			}
			if c := a.C[7*a.LDC+9]; c == c {
				t.Errorf("0·%v gave %v", bad, c)
			}
			b := problem(t, r, 13, 33, 50, 0, true, false, fromBias, kerneltest.End)
			b.Bias[32] = bad
			checkChain(t, b)
		}
	})
}

func TestGemmAllocatesNothing(t *testing.T) {
	p := parallel.New(2)
	defer p.Close()
	r := kerneltest.Rand("alloc")
	a := problem(t, r, 100, 65, 96, 0, true, true, fromC, kerneltest.End)
	Gemm(a, p)
	if n := testing.AllocsPerRun(20, func() { Gemm(a, p) }); n != 0 {
		t.Errorf("Gemm: %v allocations", n)
	}
	w := Pack(a.B[:65*96], 65, 96)
	y := make([]float32, 3*65)
	if n := testing.AllocsPerRun(20, func() { w.MulRows(y, a.A, 3, p) }); n != 0 {
		t.Errorf("MulRows: %v allocations", n)
	}
}

func TestShortSlicesPanic(t *testing.T) {
	full := func() *Args {
		return &Args{M: 3, N: 4, K: 5, A: make([]float32, 15), LDA: 5, B: make([]float32, 20), LDB: 4, C: make([]float32, 12), LDC: 4}
	}
	Gemm(full(), nil)
	for name, spoil := range map[string]func(a *Args){
		"A":          func(a *Args) { a.A = a.A[:14] },
		"B":          func(a *Args) { a.B = a.B[:19] },
		"C":          func(a *Args) { a.C = a.C[:11] },
		"LDA":        func(a *Args) { a.LDA = 4 },
		"LDB trans":  func(a *Args) { a.TransB = true },
		"bias":       func(a *Args) { a.Bias = make([]float32, 3) },
		"bias and C": func(a *Args) { a.Bias, a.Accumulate = make([]float32, 4), true },
		"negative":   func(a *Args) { a.M = -1 },
		"overflow":   func(a *Args) { a.M, a.LDA = math.MaxInt/2, math.MaxInt/2 },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			a := full()
			spoil(a)
			Gemm(a, nil)
		}()
	}
}
