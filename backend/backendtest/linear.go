package backendtest

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/ref"
)

// linearCases are the forms of MatMul, and SumRows.
func linearCases(m, n, k int) []Case {
	var cs []Case
	for _, f := range []struct {
		name                          string
		transA, transB, add, withBias bool
		alpha                         float32
	}{
		{name: "nn"}, {name: "nt", transB: true}, {name: "nt-bias", transB: true, withBias: true},
		{name: "nn-add", add: true}, {name: "tn-add", transA: true, add: true}, {name: "tt", transA: true, transB: true},
		{name: "nn-bias", withBias: true}, {name: "nt-add", transB: true, add: true},
		{name: "nn-alpha", alpha: -0.375}, {name: "nt-bias-alpha", transB: true, withBias: true, alpha: 2.5},
		{name: "nt-add-alpha", transB: true, add: true, alpha: 0.3}, {name: "tn-add-alpha", transA: true, add: true, alpha: -1.7},
		{name: "tt-alpha", transA: true, transB: true, alpha: 1e-3},
	} {
		cs = append(cs, Case{
			Op: "MatMul", Size: sized(f.name, m, n, k), Flops: 2 * float64(m) * float64(n) * float64(k),
			Bytes: 4 * float64(m*n+n*k+m*k),
			build: func(e *env) *trial {
				av, bv := e.normal(m*k), e.normal(k*n)
				a, lda := e.f32(av, m, k), k
				if f.transA {
					a, lda = e.view(a, 0, k, m), m
				}
				b, ldb := e.f32(bv, k, n), n
				if f.transB {
					b, ldb = e.view(b, 0, n, k), k
				}
				o := out{name: "c", t: e.empty(m, n), k: k + 1}
				args := backend.MatMulArgs{TransA: f.transA, TransB: f.transB, Accumulate: f.add, Alpha: f.alpha}
				alpha := f.alpha
				if alpha == 0 {
					alpha = 1
				}
				var start []float32
				switch {
				case f.add:
					start = e.normal(m * n)
					o.start = start
				case f.withBias:
					start = e.normal(n)
					args.Bias = e.f32(start)
				}
				want, abs := ref.Gemm(m, n, k, av, lda, f.transA, bv, ldb, f.transB, alpha, start)
				o.want, o.size = want, func(i int) float64 { return abs[i] }
				return &trial{run: func() error { return e.b.MatMul(o.t, a, b, args) }, outs: []out{o}}
			},
		})
	}
	return append(cs, Case{
		Op: "SumRows", Size: sized(m, n), Bytes: 4 * float64(m*n),
		build: func(e *env) *trial {
			x, start := e.normal(m*n), e.normal(n)
			want := widen(start)
			for i, v := range x {
				want[i%n] += float64(v)
			}
			o := out{name: "dst", t: e.empty(n), start: start, want: want, k: m + 1, size: even(1)}
			return simple(o, e.f32(x, m, n), e.b.SumRows)
		},
	})
}

// simple is a trial of an operation with one destination and one source.
func simple(o out, x *tensor.Dense, op func(dst, x *tensor.Dense) error) *trial {
	return &trial{run: func() error { return op(o.t, x) }, outs: []out{o}}
}
