package backendtest

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/blocks"
	"mito/kernels/ref"
)

// linearCases are the forms of MatMul, and SumRows.
func linearCases(m, n, k int) []Case {
	var cs []Case
	for _, f := range []matMulForm{
		{name: "nn", types: "fbb"}, {name: "nt", transB: true}, {name: "nt-bias", transB: true, withBias: true, types: "bfb"},
		{name: "nn-add", add: true}, {name: "tn-add", transA: true, add: true, types: "bbf"}, {name: "tt", transA: true, transB: true},
		{name: "nn-bias", withBias: true}, {name: "nt-add", transB: true, add: true},
		{name: "nn-alpha", alpha: -0.375}, {name: "nt-bias-alpha", transB: true, withBias: true, alpha: 2.5},
		{name: "nt-add-alpha", transB: true, add: true, alpha: 0.3}, {name: "tn-add-alpha", transA: true, add: true, alpha: -1.7, types: "fbf"},
		{name: "tt-alpha", transA: true, transB: true, alpha: 1e-3},
		{name: "nt-sum", transB: true, sum: true, types: "bff"}, {name: "nn-bias-sum", withBias: true, sum: true, types: "bbf"},
		{name: "nt-bias-live", transB: true, withBias: true, live: true}, {name: "nn-live", live: true},
		{name: "nn-add-live", add: true, live: true}, {name: "tn-add-wanted", transA: true, add: true, wanted: true},
	} {
		cs = append(cs, Case{
			Op: "MatMul", Size: sized(f.name, m, n, k), Flops: 2 * float64(m) * float64(n) * float64(k),
			Bytes: 4 * float64(m*n+n*k+m*k), build: func(e *env) *trial { return matMul(e, f, m, n, k) },
		})
	}
	return append(cs, Case{
		Op: "SumRows", Size: sized(m, n), Bytes: 4 * float64(m*n),
		build: func(e *env) *trial {
			x, start := e.normal(m*n), e.normal(n)
			o := out{name: "dst", t: e.empty(n), start: start}
			o.want, o.tol = columnSums(start, x)
			return trialOf(func(t []*tensor.Dense) error { return e.b.SumRows(t[0], t[1]) },
				to(o), from("x", e.act(x, m, n)).ofAnySize())
		},
	})
}

// columnSums adds the rows of x to start: one chain an element.
func columnSums(start, x []float32) (want []float64, tol tolerance) {
	want = widen(start)
	abs := make([]float64, len(want))
	for i, v := range want {
		abs[i] = math.Abs(v)
	}
	for i, v := range x {
		want[i%len(want)] += float64(v)
		abs[i%len(want)] += math.Abs(float64(v))
	}
	return want, tolerance{c: signed, size: at(abs)}
}

type matMulForm struct {
	name                          string
	transA, transB, add, withBias bool
	alpha                         float32
	sum                           bool   // Add is given
	types                         string // of a, b and c with activations in bfloat16: b for those, f for float32; "" for all
	live, wanted                  bool   // three of four blocks of b are zero, or of c not asked for; where b or c has whole blocks
}

func matMul(e *env, f matMulForm, m, n, k int) *trial {
	av, bv := e.normal(m*k), e.normal(k*n)
	args := backend.MatMulArgs{TransA: f.transA, TransB: f.transB, Accumulate: f.add, Alpha: f.alpha}
	if f.live {
		rows, cols := k, n
		if f.transB {
			rows, cols = n, k
		}
		args.Live = someBlocks(e, bv, rows, cols)
	}
	typed := func(i int) tensor.Dtype { return e.actType(e.half && (f.types == "" || f.types[i] == 'b')) }
	a, lda := e.upload(e.make(typed(0), m, k), av), k
	if f.transA {
		a, lda = e.view(a, 0, k, m), m
	}
	b, ldb := e.upload(e.make(typed(1), k, n), bv), n
	if f.transB {
		b, ldb = e.view(b, 0, n, k), k
	}
	o := out{name: "c", t: e.make(typed(2), m, n)}
	alpha := f.alpha
	if alpha == 0 {
		alpha = 1
	}
	var start []float32
	var bias *tensor.Dense
	switch {
	case f.add:
		start = e.normal(m * n)
		o.start = start
	case f.withBias:
		start = e.normal(n)
		bias = e.f32(start)
	}
	var abs []float64
	o.want, abs = ref.Gemm(m, n, k, av, lda, f.transA, bv, ldb, f.transB, alpha, start)
	var sum *tensor.Dense
	if f.sum {
		v := e.normal(m * n)
		sum = e.f32(v, m, n)
		for i, x := range v {
			o.want[i] += float64(x)
			abs[i] += math.Abs(float64(x))
		}
	}
	// Products that are rounded before they are added, and alpha, add less than an eps of the terms.
	squares, _ := ref.Gemm(m, n, k, squared(av), lda, f.transA, squared(bv), ldb, f.transB, alpha*alpha, nil)
	o.tol = tolerance{c: signed, size: at(abs), f: roundedFactors, factors: func(i int) float64 { return math.Sqrt(squares[i]) }}
	if e.half {
		o.tol.f = 0 // the factors are numbers that bfloat16 holds, in tensors of either type: nothing rounds them
	}
	if f.wanted {
		mask := ones(m * n)
		args.Wanted = someBlocks(e, mask, m, n)
		o.tol.size = func(i int) float64 {
			if args.Wanted != nil && mask[i] == 0 {
				return math.MaxFloat32 // anything
			}
			return abs[i]
		}
	}
	call := func(c, a, b *tensor.Dense, args backend.MatMulArgs) error { return e.b.MatMul(c, a, b, args) }
	tr := trialOf(func(t []*tensor.Dense) error {
		args := args
		args.Bias, args.Add = t[3], t[4]
		return call(t[0], t[1], t[2], args)
	}, to(o), from("a", a), from("b", b), from("bias", bias).orNil(), from("add", sum).orNil())

	tr.refuse("bias and accumulate", func() error {
		args := args
		args.Accumulate, args.Bias = true, e.empty(n)
		return call(o.t, a, b, args)
	})
	tr.refuse("add and accumulate", func() error {
		args := args
		args.Accumulate, args.Bias, args.Add = true, nil, e.empty(m, n)
		return call(o.t, a, b, args)
	})
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		tr.refuse("alpha", func() error {
			args := args
			args.Alpha = float32(bad)
			return call(o.t, a, b, args)
		})
	}
	tr.refuse("c in the place of a", func() error {
		x, square := e.empty(m, k), e.empty(k, k)
		return call(x, x, square, backend.MatMulArgs{})
	})
	tr.refuse("c in the place of what is added", func() error {
		c := e.empty(m, n)
		return call(c, a, b, backend.MatMulArgs{TransA: f.transA, TransB: f.transB, Add: c})
	})
	tr.refuse("c overlapping a", func() error {
		long, square := e.empty(m+1, k), e.empty(k, k)
		return call(e.view(long, k, m, k), e.view(long, 0, m, k), square, backend.MatMulArgs{})
	})
	return tr
}

// someBlocks clears three of four blocks of a matrix and lists those that are left; nil where it has no whole blocks.
func someBlocks(e *env, x []float32, rows, cols int) *blocks.Index {
	if blocks.Of(x, rows, cols) == nil {
		return nil
	}
	for r := 0; r < rows; r += blocks.Rows {
		for c := 0; c < cols; c += blocks.Cols {
			if e.r.IntN(4) == 0 {
				continue
			}
			for i := range blocks.Rows {
				clear(x[(r+i)*cols+c:][:blocks.Cols])
			}
		}
	}
	return blocks.Of(x, rows, cols)
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// roundedFactors is the f of a sum of products whose factors are rounded, for factors the root of the sum of their
// squares. Rounding moves a factor by eps/√3 of the power of two below it, 0.42·eps of itself in the mean; there are two,
// and one element in a hundred thousand is off by five standard deviations.
const roundedFactors = 5 * 0.42 * math.Sqrt2

func squared(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = v * v
	}
	return y
}
