package backendtest

import (
	"math"
	"slices"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/ref"
)

// attentionShapes have one token, tails, windows of one, at and beyond the sequence, and every kind of head sharing.
var attentionShapes = []backend.AttentionArgs{
	{Batch: 1, Time: 1, Heads: 1, KVHeads: 1, HeadDim: 1, Scale: 1},
	{Batch: 2, Time: 7, Heads: 4, KVHeads: 2, HeadDim: 8, Scale: 0.35},
	{Batch: 1, Time: 31, Heads: 3, KVHeads: 1, HeadDim: 31, Scale: 0.18},
	{Batch: 3, Time: 33, Heads: 2, KVHeads: 2, HeadDim: 16, Window: 5, Scale: 0.25},
	{Batch: 1, Time: 96, Heads: 4, KVHeads: 4, HeadDim: 24, Window: 1, Scale: 0.2},
	{Batch: 2, Time: 64, Heads: 6, KVHeads: 2, HeadDim: 32, Window: 64, Scale: 0.17},
	{Batch: 1, Time: 172, Heads: 2, KVHeads: 1, HeadDim: 64, Window: 33, Scale: 0.125},
	{Batch: 2, Time: 65, Heads: 2, KVHeads: 1, HeadDim: 33, Window: 100, Scale: 0.17},
}

// droppedShapes are of rows that are not consecutive positions, under a window that counts positions: windows of one, within a
// tile of keys, over several, and beyond the sequence. Tiles have 16, 32 or 64 rows.
var droppedShapes = []backend.AttentionArgs{
	{Batch: 2, Time: 7, Heads: 4, KVHeads: 2, HeadDim: 8, Window: 4, Scale: 0.35},
	{Batch: 3, Time: 70, Heads: 1, KVHeads: 1, HeadDim: 31, Window: 1, Scale: 0.18},
	{Batch: 2, Time: 172, Heads: 2, KVHeads: 1, HeadDim: 64, Window: 90, Scale: 0.125},
	{Batch: 1, Time: 300, Heads: 2, KVHeads: 2, HeadDim: 12, Window: 380, Scale: 0.3},
	{Batch: 2, Time: 65, Heads: 2, KVHeads: 2, HeadDim: 96, Window: 1000, Scale: 0.1},
}

func refAttention(a backend.AttentionArgs) *ref.Attention {
	return &ref.Attention{
		Batch: a.Batch, Time: a.Time, Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Window: a.Window, Scale: float64(a.Scale),
	}
}

// attentionInputs are the operands of one shape.
type attentionInputs struct {
	n, width, kv    int
	q, k, v, dout   []float32
	q64, k64, v64   []float64
	qt, kt, vt, out *tensor.Dense
	args            backend.AttentionArgs
	ref             *ref.Attention
	starts          []int32 // nil where rows are consecutive positions
}

func newAttention(e *env, a backend.AttentionArgs, dropped bool) *attentionInputs {
	n, width, kv := a.Batch*a.Time, a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	x := &attentionInputs{
		n: n, width: width, kv: kv,
		q: e.normal(n * width), k: e.normal(n * kv), v: e.normal(n * kv), dout: e.normal(n * width),
	}
	x.q64, x.k64, x.v64 = widen(x.q), widen(x.k), widen(x.v)
	x.qt, x.kt, x.vt = e.act(x.q, n, width), e.act(x.k, n, kv), e.act(x.v, n, kv)
	x.out = e.noAct(a.Batch, a.Time, width)
	x.args, x.ref = a, refAttention(a)
	if dropped {
		x.drop(e)
	}
	return x
}

// drop gives the rows positions with gaps: the oracle compares those, the backend is told where each row begins to see.
func (x *attentionInputs) drop(e *env) {
	time, window := x.args.Time, int32(x.args.Window)
	p := make([]int32, x.n)
	x.starts = make([]int32, x.n)
	for i := range p {
		first := i - i%time // of the sequence
		if i > first {
			p[i] = p[i-1] + 1 + int32(e.r.IntN(4))
		}
		for p[first+int(x.starts[i])] <= p[i]-window {
			x.starts[i]++
		}
	}
	x.ref.Positions, x.args.Window, x.args.Starts = p, 0, e.i32(x.starts, x.args.Batch, time)
}

// refuseStarts adds starts that no attention has, in a call with starts.
func (x *attentionInputs) refuseStarts(e *env, tr *trial, call func(a backend.AttentionArgs) error) {
	if x.starts == nil {
		return
	}
	tr.refuse("starts beside a window", func() error {
		a := x.args
		a.Window = 2
		return call(a)
	})
	last := x.n - 1
	for _, bad := range []struct {
		what  string
		row   int
		start int
	}{
		{"a start behind its row", last, x.args.Time}, {"a negative start", x.n - x.args.Time, -1}, {"starts that fall", last, int(x.starts[last-1]) - 1},
	} {
		tr.refuseValues(bad.what, func() error {
			starts := slices.Clone(x.starts)
			starts[bad.row] = int32(bad.start)
			a := x.args
			a.Starts = e.i32(starts, a.Batch, a.Time)
			return call(a)
		})
	}
}

// droppedCases are cases of rows that are not consecutive positions.
func droppedCases(a backend.AttentionArgs) []Case { return attentionPasses(a, "dropped-", true) }

func attentionCases(a backend.AttentionArgs) []Case {
	passes := attentionPasses(a, "", false)
	forward := passes[0]
	return append(passes, Case{Op: "QAttention", Size: forward.Size, Flops: forward.Flops, Bytes: forward.Bytes, build: func(e *env) *trial {
		return studentAttention(e, a)
	}})
}

// attentionPasses are the cases of the forward and the backward pass.
func attentionPasses(a backend.AttentionArgs, prefix string, dropped bool) []Case {
	name := prefix + sized(a.Batch, a.Time, a.Heads, a.KVHeads, a.HeadDim, a.Window)
	n, width, kv := a.Batch*a.Time, a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	seen := a.Time
	if a.Window > 0 {
		seen = min(seen, 2*a.Window)
	}
	flops := 2 * float64(n) * float64(width) * float64(seen) // two products over half of the T×T scores
	bytes := 8 * float64(n*(width+kv))
	return []Case{
		{Op: "Attention", Size: name, Flops: flops, Bytes: bytes, build: func(e *env) *trial { return attention(e, a, dropped) }},
		{Op: "AttentionBackward", Size: name, Flops: 2.5 * flops, Bytes: 2 * bytes, build: func(e *env) *trial {
			return attentionBackward(e, a, dropped)
		}},
	}
}

func studentAttention(e *env, a backend.AttentionArgs) *trial {
	x := newAttention(e, a, false)
	o := out{name: "out", t: x.out, exact: ref.StudentAttention(x.ref, x.q, x.k, x.v)}
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.QAttention(t[0], t[1], t[2], t[3], a) },
		to(o), from("q", x.qt), from("k", x.kt), from("v", x.vt))
	call := func(a backend.AttentionArgs) error { return e.b.QAttention(o.t, x.qt, x.kt, x.vt, a) }
	refuseAttention(tr, a, call)
	tr.refuse("out in the place of q", func() error { return e.b.QAttention(x.qt, x.qt, x.kt, x.vt, a) })
	tr.refuse("starts", func() error {
		a := a
		a.Window, a.Starts = 0, e.i32(make([]int32, x.n), a.Batch, a.Time)
		return call(a)
	})
	return tr
}

// refuseAttention adds arguments that are no shape of attention.
func refuseAttention(tr *trial, good backend.AttentionArgs, call func(a backend.AttentionArgs) error) {
	for _, bad := range []struct {
		what  string
		spoil func(a *backend.AttentionArgs)
	}{
		{"batch 0", func(a *backend.AttentionArgs) { a.Batch = 0 }},
		{"time -3", func(a *backend.AttentionArgs) { a.Time = -3 }},
		{"batch and time < 0", func(a *backend.AttentionArgs) { a.Batch, a.Time = -2, -3 }},
		{"heads 0", func(a *backend.AttentionArgs) { a.Heads = 0 }},
		{"heads not shared", func(a *backend.AttentionArgs) { a.KVHeads = a.Heads + 1 }},
		{"no kv heads", func(a *backend.AttentionArgs) { a.KVHeads = 0 }},
		{"head width 0", func(a *backend.AttentionArgs) { a.HeadDim = 0 }},
		{"window -1", func(a *backend.AttentionArgs) { a.Window = -1 }},
		{"scale 0", func(a *backend.AttentionArgs) { a.Scale = 0 }},
		{"scale NaN", func(a *backend.AttentionArgs) { a.Scale = float32(math.NaN()) }},
		{"scale Inf", func(a *backend.AttentionArgs) { a.Scale = float32(math.Inf(1)) }},
	} {
		a := good
		bad.spoil(&a)
		tr.refuse(bad.what, func() error { return call(a) })
	}
}

func attention(e *env, a backend.AttentionArgs, dropped bool) *trial {
	x := newAttention(e, a, dropped)
	o := out{name: "out", t: x.out, tol: attentionTolerance}
	lse := out{name: "lse", t: e.empty(a.Batch, a.Time, a.Heads), tol: attentionTolerance}
	o.want, lse.want = x.ref.Forward(x.q64, x.k64, x.v64)
	tr := trialOf(func(t []*tensor.Dense) error {
		args := x.args
		args.Starts = t[5]
		return e.b.Attention(t[0], t[1], t[2], t[3], t[4], args)
	}, to(o), to(lse), from("q", x.qt), from("k", x.kt), from("v", x.vt), from("starts", x.args.Starts).orNil())
	call := func(a backend.AttentionArgs) error { return e.b.Attention(o.t, lse.t, x.qt, x.kt, x.vt, a) }
	refuseAttention(tr, x.args, call)
	x.refuseStarts(e, tr, call)
	tr.refuse("out in the place of q", func() error { return e.b.Attention(x.qt, lse.t, x.qt, x.kt, x.vt, x.args) })
	return tr
}

// attentionTolerance: an error of a score is a relative error of its probability. The scores that have most of the
// probability are a few units, and so are their roundings, once in the product and once against the largest; out is a mean
// of values near one. Rounded factors move a score by half an eps of the root of the sum of its products' squares, and p
// and v once more.
var attentionTolerance = tolerance{c: 16, size: even(1), f: 4}

// attentionGradTolerance: what attention has comes in twice, through p and through dout·v, and sums over positions and
// shared heads carry gradients a few times as large as one.
var attentionGradTolerance = tolerance{c: 64, size: even(1), f: 12}

func attentionBackward(e *env, a backend.AttentionArgs, dropped bool) *trial {
	x := newAttention(e, a, dropped)
	tol := attentionGradTolerance
	dq := out{name: "dq", t: e.noAct(x.n, x.width), tol: tol}
	dk := out{name: "dk", t: e.noAct(x.n, x.kv), tol: tol}
	dv := out{name: "dv", t: e.noAct(x.n, x.kv), tol: tol}
	dq.want, dk.want, dv.want = x.ref.Backward(widen(x.dout), x.q64, x.k64, x.v64)
	forward, lse := x.ref.Forward(x.q64, x.k64, x.v64)
	ot, lt := e.act(narrow(forward), x.n, x.width), e.f32(narrow(lse), x.n, a.Heads)
	dout := e.act(x.dout, x.n, x.width)
	tr := trialOf(func(t []*tensor.Dense) error {
		args := x.args
		args.Starts = t[9]
		return e.b.AttentionBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], args)
	}, to(dq), to(dk), to(dv), from("dout", dout), from("out", ot), from("lse", lt), from("q", x.qt), from("k", x.kt), from("v", x.vt),
		from("starts", x.args.Starts).orNil())
	call := func(dq, dk, dv *tensor.Dense, a backend.AttentionArgs) error {
		return e.b.AttentionBackward(dq, dk, dv, dout, ot, lt, x.qt, x.kt, x.vt, a)
	}
	again := func(a backend.AttentionArgs) error { return call(dq.t, dk.t, dv.t, a) }
	refuseAttention(tr, x.args, again)
	x.refuseStarts(e, tr, again)
	tr.refuse("dq in the place of dout", func() error { return call(dout, dk.t, dv.t, x.args) })
	tr.refuse("dk in the place of k", func() error { return call(dq.t, x.kt, dv.t, x.args) })
	tr.refuse("dk and dv in one place", func() error { return call(dq.t, dk.t, dk.t, x.args) })
	return tr
}

func narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}
