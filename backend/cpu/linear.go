package cpu

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/kernels/gemm"
	"mito/kernels/vec"
)

// linearTasks are those of this file.
type linearTasks struct {
	gemm    gemm.Args
	sumRows sumRowsTask
}

// MatMul implements backend.Linear.
func (b *Backend) MatMul(c, a, bb *tensor.Dense, args backend.MatMulArgs) error {
	m, n, k, err := check.MatMul(b, c, a, bb, args)
	if err != nil {
		return err
	}
	g := gemm.Args{
		M: m, N: n, K: k,
		A: f32(a), LDA: k, TransA: args.TransA,
		B: f32(bb), LDB: n, TransB: args.TransB,
		C: f32(c), LDC: n, Accumulate: args.Accumulate, Bias: f32(args.Bias),
		Alpha: args.Alpha, Live: args.Live, Wanted: args.Wanted,
	}
	if args.TransA {
		g.LDA = m
	}
	if args.TransB {
		g.LDB = k
	}
	b.multiply(g)
	if args.Add == nil {
		return nil
	}
	b.tasks.add = addTask{g.C, f32(args.Add), g.C}
	b.pool.Run(m*n, grainElems, &b.tasks.add)
	return nil
}

// multiply runs a product. Its arguments live in the backend, because those of an assembly kernel escape.
func (b *Backend) multiply(a gemm.Args) {
	b.tasks.gemm = a
	gemm.Gemm(&b.tasks.gemm, b.pool)
}

// SumRows implements backend.Linear.
func (b *Backend) SumRows(dst, x *tensor.Dense) error {
	n, c, err := check.SumRows(b, dst, x)
	if err != nil {
		return err
	}
	b.tasks.sumRows = sumRowsTask{dst: f32(dst), x: f32(x), n: n, c: c}
	b.pool.Run(c, b.grainCols(c), &b.tasks.sumRows)
	return nil
}

type sumRowsTask struct {
	dst, x []float32
	n, c   int
}

func (t *sumRowsTask) Do(lo, hi int) {
	dst := t.dst[lo:hi]
	for r := range t.n {
		vec.Add(dst, dst, t.x[r*t.c+lo:r*t.c+hi])
	}
}
