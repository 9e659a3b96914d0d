package bench

import (
	"fmt"

	"mito/kernels/attn"
	"mito/kernels/edge"
	"mito/kernels/kv"
	"mito/kernels/parallel"
	"mito/kernels/vec"
)

// planAttention adds attention of a training step, forward and backward, and of a decoding step at the end of the
// context.
func planAttention(m *meter) {
	pool := parallel.New(m.o.Threads)
	m.keep(closer(pool.Close))
	for _, c := range classes() {
		s := attn.Shape{
			Batch: benchTokens / c.config.Context, Time: c.config.Context, Heads: c.config.Heads, KVHeads: c.config.KVHeads,
			HeadDim: c.config.HeadDim, Scale: 0.2,
		}
		x := newAttention(s)
		// Only the positions that are seen count: two products forward, five backward.
		macs := float64(s.Batch*s.Heads*s.HeadDim) * float64(s.Time*(s.Time+1)/2)
		name := fmt.Sprintf("attention/%s %dx%d, %d heads of %d", c.name, s.Batch, s.Time, s.Heads, s.HeadDim)
		for _, p := range []struct {
			pool    *parallel.Pool
			threads int
		}{{nil, 1}, {pool, m.o.Threads}} {
			r := Result{Unit: unitGFLOPS, Threads: p.threads, LimitName: limitFMA}
			r.Name = name + ", forward"
			m.add(r, per(2*2*macs/1e9, func() { attn.Forward(x.out, x.lse, x.q, x.k, x.v, s, p.pool) }), fmaLimit(p.threads))
			r.Name = name + ", backward"
			m.add(r, per(5*2*macs/1e9, func() {
				attn.Backward(x.dq, x.dk, x.dv, x.dout, x.out, x.lse, x.q, x.k, x.v, s, p.pool)
			}), fmaLimit(p.threads))
		}
	}
	for _, c := range classes() {
		planDecodeAttention(m, c)
	}
}

type attention struct{ out, lse, q, k, v, dq, dk, dv, dout []float32 }

func newAttention(s attn.Shape) attention {
	r := source("attention")
	n, kv := s.Batch*s.Time*s.Heads*s.HeadDim, s.Batch*s.Time*s.KVHeads*s.HeadDim
	x := attention{
		out: make([]float32, n), lse: make([]float32, s.Batch*s.Time*s.Heads), q: normal(r, n), k: normal(r, kv), v: normal(r, kv),
		dq: make([]float32, n), dk: make([]float32, kv), dv: make([]float32, kv), dout: normal(r, n),
	}
	attn.Forward(x.out, x.lse, x.q, x.k, x.v, s, nil)
	return x
}

func planDecodeAttention(m *meter, c class) {
	s := &kv.Shape{
		Heads: c.config.Heads, KVHeads: c.config.KVHeads, HeadDim: c.config.HeadDim, PageSize: c.config.Context, Scale: 0.2,
	}
	r := source("decode attention")
	pages, table, sc := kv.NewPagesQS8(1, s), []int32{0}, kv.NewScratchQS8(s, c.config.Context)
	width := s.KVHeads * s.HeadDim
	for t := range c.config.Context {
		s.StoreQS8(&pages[0], t, normal(r, width), normal(r, width), sc)
	}
	q, out := normal(r, s.Heads*s.HeadDim), make([]float32, s.Heads*s.HeadDim)
	m.add(Result{Name: fmt.Sprintf("attention/%s decode over %d INT8 positions, one layer", c.name, c.config.Context), Unit: unitTokens, Threads: 1},
		per(1, func() { s.AttendQS8(out, q, pages, table, c.config.Context-1, sc) }), nil)
}

// row holds the operands of the vector kernels.
type row struct {
	a, b, c, d, out, sum, p []float32
	q                       []int8
	acc                     []int32
}

// vecKernels are the functions that a decoding or training step spends time in, with the bytes that an ideal one
// reads and writes per element.
var vecKernels = []struct {
	name  string
	bytes int
	run   func(r *row)
}{
	{"vec/Exp", 8, func(r *row) { vec.Exp(r.out, r.a) }},
	{"vec/Softmax", 8, func(r *row) { vec.Softmax(r.out, r.a) }},
	{"vec/RMSNorm", 12, func(r *row) { vec.RMSNorm(r.out, r.a, r.b, 1e-5) }},
	{"vec/RMSNormBackward", 24, func(r *row) { vec.RMSNormBackward(r.out, r.sum, r.a, r.b, r.c, 0.7) }},
	{"vec/QuantizeRow", 5, func(r *row) { vec.QuantizeRow(r.q, r.a) }},
	{"vec/ScaleInt32", 12, func(r *row) { vec.ScaleInt32(r.out, r.acc, 0.3, r.a) }},
	{"vec/ReLU2", 8, func(r *row) { vec.ReLU2(r.out, r.a) }},
	{"vec/GELU", 8, func(r *row) { vec.GELU(r.out, r.a) }},
	{"vec/SwiGLU", 12, func(r *row) { vec.SwiGLU(r.out, r.a, r.b) }},
	{"vec/RoPE", 12, func(r *row) { h := len(r.a) / 2; vec.RoPE(r.out, r.a[:h], r.b[:h], false) }},
	{"vec/Add", 12, func(r *row) { vec.Add(r.out, r.a, r.b) }},
	{"vec/CrossEntropyRow", 8, func(r *row) { vec.CrossEntropyRow(r.out, r.a, 0, 0, 1, false) }},
	{"vec/KLRow", 16, func(r *row) { vec.KLRow(r.sum, r.a, r.p, 2, 1e-9) }},
	{"edge/RMSNormQuantize", 9, func(r *row) { edge.RMSNormQuantize(r.q, r.out, r.a, r.b, 1e-5) }},
	{"edge/ReLU2Quantize", 9, func(r *row) { edge.ReLU2Quantize(r.q, r.out, r.acc, 0.3, r.a) }},
	{"vec/AdamW", 28, func(r *row) {
		vec.AdamW(r.out, r.a, r.c, r.d, vec.AdamWArgs{LR: 1e-6, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, BiasCorr1: 0.1, BiasCorr2: 0.01, GradScale: 1})
	}},
}

func planVec(m *meter) {
	for _, k := range vecKernels {
		for _, n := range []int{96, 384} {
			r := newRow(n)
			m.add(Result{Name: fmt.Sprintf("%s n=%d", k.name, n), Unit: unitGBS, Threads: 1, LimitName: limitL1},
				per(float64(n*k.bytes)/1e9, func() { k.run(r) }), gbs(16<<10))
		}
	}
}

func newRow(n int) *row {
	s := source("row")
	r := &row{
		a: normal(s, n), b: normal(s, n), c: normal(s, n), d: make([]float32, n), out: make([]float32, n), sum: make([]float32, n),
		p: make([]float32, n), q: make([]int8, n), acc: make([]int32, n),
	}
	for i := range r.acc {
		r.acc[i] = int32(s.IntN(1 << 16))
	}
	vec.Softmax(r.p, r.a)
	return r
}
