package gemm

import (
	"fmt"
	"testing"
	"time"

	"mito/kernels/blocks"
	"mito/kernels/kerneltest"
	"mito/kernels/parallel"
	"mito/kernels/peak"
)

// blockForms are the three products of a linear layer with a weight [n,k] and m rows.
var blockForms = []struct {
	name           string
	transA, transB bool
	size           func(m, n, k int) (M, N, K int)
}{
	{"forward", false, true, func(m, n, k int) (int, int, int) { return m, n, k }},
	{"input gradient", false, false, func(m, n, k int) (int, int, int) { return m, k, n }},
	{"weight gradient", true, false, func(m, n, k int) (int, int, int) { return n, k, m }},
}

// blockProblem returns a product one operand of which, or whose result, has zero blocks.
func blockProblem(t testing.TB, form, m, n, k, pad int, live float64, from start, side kerneltest.Side) *Args {
	f := blockForms[form]
	M, N, K := f.size(m, n, k)
	r := kerneltest.Rand(fmt.Sprint(form, m, n, k, live, from))
	a := problem(t, r, M, N, K, pad, f.transA, f.transB, from, side)
	mask := make([]float32, n*k)
	for b := range n / 4 * (k / 8) {
		if r.Float64() < live {
			mask[(b/(k/8)*4+r.IntN(4))*k+b%(k/8)*8+r.IntN(8)] = 1
		}
	}
	index := blocks.Of(mask, n, k)
	if f.transA {
		a.Wanted = index
		return a
	}
	a.Live = index
	for i := range n {
		for j := range k {
			if !inIndex(index, i, j) {
				a.B[i*a.LDB+j] = 0
			}
		}
	}
	return a
}

func inIndex(x *blocks.Index, i, j int) bool {
	for _, c := range x.InRow(i / 4) {
		if int(c) == j/8 {
			return true
		}
	}
	return false
}

// Products that leave blocks out have the bits of the dense product, and write nothing but C.
func TestBlocks(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		pool := parallel.New(3)
		defer pool.Close()
		left := 0
		for form := range blockForms {
			for i, s := range [][3]int{{24, 4, 8}, {25, 12, 40}, {48, 96, 96}, {133, 36, 56}, {300, 20, 264}, {11, 8, 16}, {23, 12, 8}, {72, 100, 384}} {
				for _, live := range []float64{0, 0.1, 0.3, 0.55, 1} {
					for _, from := range []start{fromZero, fromBias, fromC} {
						a := blockProblem(t, form, s[0], s[1], s[2], i%3*5, live, from, kerneltest.Sides[i%2])
						want, padding := chain(a), padOf(a)
						if blockProduct(a, dispatch.Funcs(), nil) {
							left++
						} else {
							Gemm(a, pool)
						}
						compare := func(what string) {
							t.Helper()
							got := compact(a)
							for e := range got {
								if a.Wanted != nil && !inIndex(a.Wanted, e/a.N, e%a.N) {
									got[e], want[e] = 0, 0
								}
							}
							if err := kerneltest.Bits(got, want); err != nil {
								t.Fatalf("%s %v, live %v, start %d, %s: %v", blockForms[form].name, s, live, from, what, err)
							}
						}
						compare("alone")
						if err := kerneltest.Bits(padOf(a), padding); err != nil {
							t.Fatalf("%s %v: written between the rows of C: %v", blockForms[form].name, s, err)
						}
						if from != fromC {
							Gemm(a, pool)
							compare("threads")
						}
					}
				}
			}
		}
		if left == 0 && dispatch.Funcs().blocks != nil {
			t.Error("no product left a block out")
		}
	})
}

func TestBlocksOfAnotherShape(t *testing.T) {
	a := blockProblem(t, 0, 24, 8, 16, 0, 0.5, fromZero, kerneltest.Begin)
	a.Live = blocks.Of(make([]float32, 128), 16, 8)
	defer func() {
		if recover() == nil {
			t.Error("blocks of [16,8] for a weight [8,16] are taken")
		}
	}()
	Gemm(a, nil)
}

// BenchmarkBlocks reports how many times as fast as dense the three products are.
func BenchmarkBlocks(b *testing.B) {
	for form, f := range blockForms {
		for _, s := range [][3]int{{1536, 96, 96}, {1536, 384, 96}, {1536, 96, 384}, {1024, 384, 384}, {1024, 1536, 384}, {1024, 384, 1536}} {
			for _, live := range []float64{0.25, 0.5, 0.75} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/%v", f.name, s[0], s[1], s[2], live), func(b *testing.B) {
					a := blockProblem(b, form, s[0], s[1], s[2], 0, live, fromZero, kerneltest.Begin)
					dense := *a
					dense.Live, dense.Wanted = nil, nil
					limit, err := peak.FMA(Variant())
					if err != nil {
						b.Fatal(err)
					}
					fast, slow := time.Duration(1<<63-1), time.Duration(1<<63-1)
					once := func(best *time.Duration, a *Args) {
						began := time.Now()
						Gemm(a, nil)
						*best = min(*best, time.Since(began))
					}
					for b.Loop() {
						once(&fast, a)
						once(&slow, &dense)
					}
					work := 2 * float64(a.M*a.N*a.K) / 1e9 / limit
					b.ReportMetric(100*live*work/fast.Seconds(), "%peak")
					b.ReportMetric(100*work/slow.Seconds(), "%peak-dense")
					b.ReportMetric(slow.Seconds()/fast.Seconds(), "x/dense")
				})
			}
		}
	}
}
