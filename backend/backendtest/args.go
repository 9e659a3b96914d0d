package backendtest

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
)

// badArg is an operation whose tensors fit and whose other arguments do not.
type badArg struct {
	op, what string
	run      func() error
}

func badArgs(e *env, opts Options) []badArg {
	o, b := newOperands(e), e.b
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	var bad []badArg
	add := func(op, what string, run func() error) { bad = append(bad, badArg{op, what, run}) }

	add("MatMul", "bias and accumulate", func() error {
		return b.MatMul(o.dlogits, o.x, o.table, backend.MatMulArgs{TransB: true, Accumulate: true, Bias: o.vScale})
	})
	for _, alpha := range []float32{nan, inf, -inf} {
		add("MatMul", "alpha", func() error {
			return b.MatMul(o.dlogits, o.x, o.table, backend.MatMulArgs{TransB: true, Alpha: alpha})
		})
	}
	square := e.f32(e.normal(callCols*callCols), callCols, callCols)
	add("MatMul", "c in the place of a", func() error { return b.MatMul(o.x, o.x, square, backend.MatMulArgs{}) })
	add("MatMul", "c overlapping a", func() error {
		long := e.empty(callRows+1, callCols)
		return b.MatMul(e.view(long, callCols, callRows, callCols), e.view(long, 0, callRows, callCols), square, backend.MatMulArgs{})
	})
	for _, act := range []backend.Activation{-1, backend.SiLU + 1} {
		add("Activate", "no activation", func() error { return b.Activate(o.z, o.x, act) })
		add("ActivateBackward", "no activation", func() error { return b.ActivateBackward(o.z, o.y, o.x, act) })
	}
	for _, rate := range []float32{-0.1, 1, 1.5, nan} {
		add("Dropout", "rate", func() error { return b.Dropout(o.z, o.x, backend.DropoutArgs{Rate: rate}) })
	}
	for _, temp := range []float32{0, -1, nan, inf} {
		add("Softmax", "temperature", func() error { return b.Softmax(o.z, o.x, temp, 1, false) })
		add("Distill", "temperature", func() error {
			return b.Distill(o.perRow, o.dlogits, o.logits, o.probs, o.weights, backend.DistillArgs{Temperature: temp, Scale: 1})
		})
	}
	add("Softmax", "dst in the place of x", func() error { return b.Softmax(o.x, o.x, 1, 1, false) })
	add("Distill", "dlogits in the place of logits", func() error {
		return b.Distill(o.perRow, o.logits, o.logits, o.probs, o.weights, backend.DistillArgs{Temperature: 1, Scale: 1})
	})
	for _, s := range []float32{-0.1, 1, nan} {
		add("CrossEntropy", "smoothing", func() error {
			return b.CrossEntropy(o.perRow, o.dlogits, o.logits, o.ids, o.weights, backend.CrossEntropyArgs{Smoothing: s, Scale: 1})
		})
	}
	add("StudentNorm", "kind", func() error { return b.StudentNorm(o.z, o.x, o.perCol, nil, 7, normEps) })
	bad = append(bad, badOptim(e, o)...)
	bad = append(bad, badAttention(e)...)
	if opts.ChecksValues {
		bad = append(bad, badValues(e, o)...)
	}
	return bad
}

func badOptim(e *env, o operands) []badArg {
	b, nan := e.b, float32(math.NaN())
	var bad []badArg
	for _, v := range []float32{-1, nan} {
		bad = append(bad, badArg{"ClipScale", "norm", func() error { return b.ClipScale(o.step, o.one, v) }})
	}
	for _, v := range []float32{-0.5, 1.5, nan} {
		bad = append(bad,
			badArg{"Lerp", "weight", func() error { return b.Lerp(o.z, o.x, v, nil) }},
			badArg{"AdamW", "beta1", func() error {
				return b.AdamW(o.z, o.x, o.y, o.z, o.step, backend.AdamWArgs{Beta1: v, Beta2: 0.9, Eps: 1})
			}},
			badArg{"AdamW", "beta2", func() error {
				return b.AdamW(o.z, o.x, o.y, o.z, o.step, backend.AdamWArgs{Beta1: 0.9, Beta2: v, Eps: 1})
			}},
			badArg{"Muon", "momentum", func() error {
				return b.Muon(o.z, o.x, o.y, o.work, o.step, backend.MuonArgs{Momentum: v, Steps: 1})
			}})
	}
	return append(bad,
		badArg{"AdamW", "eps", func() error {
			return b.AdamW(o.z, o.x, o.y, o.z, o.step, backend.AdamWArgs{Beta1: 0.9, Beta2: 0.9})
		}},
		badArg{"Muon", "steps", func() error { return b.Muon(o.z, o.x, o.y, o.work, o.step, backend.MuonArgs{}) }})
}

func badAttention(e *env) []badArg {
	m := func(c int) *tensor.Dense { return e.f32(e.positive(6*c), 6, c) }
	out, lse, q, k, v := m(16), m(4), m(16), m(8), m(8)
	dq, dk, dv, dout := m(16), m(8), m(8), m(16)
	good := backend.AttentionArgs{Batch: 2, Time: 3, Heads: 4, KVHeads: 2, HeadDim: 4, Scale: 0.5}
	var bad []badArg
	for what, spoil := range map[string]func(a *backend.AttentionArgs){
		"batch 0":            func(a *backend.AttentionArgs) { a.Batch = 0 },
		"time -3":            func(a *backend.AttentionArgs) { a.Time = -3 },
		"batch and time < 0": func(a *backend.AttentionArgs) { a.Batch, a.Time = -2, -3 },
		"heads 0":            func(a *backend.AttentionArgs) { a.Heads = 0 },
		"heads not shared":   func(a *backend.AttentionArgs) { a.KVHeads = 3 },
		"no kv heads":        func(a *backend.AttentionArgs) { a.KVHeads = 0 },
		"head width 0":       func(a *backend.AttentionArgs) { a.HeadDim = 0 },
		"window -1":          func(a *backend.AttentionArgs) { a.Window = -1 },
		"scale 0":            func(a *backend.AttentionArgs) { a.Scale = 0 },
		"scale NaN":          func(a *backend.AttentionArgs) { a.Scale = float32(math.NaN()) },
		"scale Inf":          func(a *backend.AttentionArgs) { a.Scale = float32(math.Inf(1)) },
	} {
		a := good
		spoil(&a)
		bad = append(bad,
			badArg{"Attention", what, func() error { return e.b.Attention(out, lse, q, k, v, a) }},
			badArg{"AttentionBackward", what, func() error { return e.b.AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v, a) }},
			badArg{"QAttention", what, func() error { return e.b.QAttention(out, q, k, v, a) }})
	}
	backward := func(dq, dk, dv *tensor.Dense) error {
		return e.b.AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v, good)
	}
	return append(bad,
		badArg{"Attention", "out in the place of q", func() error { return e.b.Attention(q, lse, q, k, v, good) }},
		badArg{"QAttention", "out in the place of q", func() error { return e.b.QAttention(q, q, k, v, good) }},
		badArg{"AttentionBackward", "dq in the place of dout", func() error { return backward(dout, dk, dv) }},
		badArg{"AttentionBackward", "dk in the place of k", func() error { return backward(dq, k, dv) }},
		badArg{"AttentionBackward", "dk and dv in one place", func() error { return backward(dq, dk, dk) }})
}

// badValues are contents of integer tensors that lie outside their range.
func badValues(e *env, o operands) []badArg {
	b := e.b
	var bad []badArg
	for _, id := range []int32{-1, callVocab, math.MaxInt32, math.MinInt32} {
		ids := make([]int32, callRows)
		ids[callRows-2] = id
		it := e.i32(ids)
		cos, sin := tables(callVocab, 8)
		ct, st := e.f32(cos, callVocab, 4), e.f32(sin, callVocab, 4)
		top := make([]int32, callRows*callTop)
		top[4] = id
		tt, tp := e.i32(top, callRows, callTop), e.f32(e.positive(callRows*callTop), callRows, callTop)
		bad = append(bad,
			badArg{"Embed", "id", func() error { return b.Embed(o.z, o.table, it, false) }},
			badArg{"EmbedBackward", "id", func() error { return b.EmbedBackward(o.table, o.x, it) }},
			badArg{"RoPE", "position", func() error { return b.RoPE(o.z, it, ct, st, false) }},
			badArg{"QEmbed", "id", func() error { return b.QEmbed(o.z, o.w8, o.vScale, it) }},
			badArg{"CrossEntropy", "target", func() error {
				return b.CrossEntropy(o.perRow, o.dlogits, o.logits, it, o.weights, backend.CrossEntropyArgs{Scale: 1})
			}},
			badArg{"DistillTopK", "id", func() error {
				return b.DistillTopK(o.perRow, o.dlogits, o.logits, tt, tp, o.perRow2, o.weights, backend.DistillArgs{Temperature: 1, Scale: 1})
			}})
	}
	low := make([]int8, callVocab*callCols)
	low[17] = -128
	lt := e.i8(low, callVocab, callCols)
	bad = append(bad, badArg{"QLinear", "weight -128", func() error { return b.QLinear(o.dlogits, o.q8, o.perRow, lt, o.vScale, nil) }})

	values := e.i8(e.int8s(4*32), 4, 32)
	lowBlock := make([]int8, 4*32)
	lowBlock[40] = -128
	for what, w := range map[string]backend.BlockSparse{
		"column -1":            {Values: values, Columns: e.i32([]int32{-1, 0, 1, 0}), RowPtr: e.i32([]int32{0, 1, 3, 4})},
		"column outside":       {Values: values, Columns: e.i32([]int32{0, 0, 2, 0}), RowPtr: e.i32([]int32{0, 1, 3, 4})},
		"column twice":         {Values: values, Columns: e.i32([]int32{0, 1, 1, 0}), RowPtr: e.i32([]int32{0, 1, 3, 4})},
		"columns descending":   {Values: values, Columns: e.i32([]int32{0, 1, 0, 0}), RowPtr: e.i32([]int32{0, 1, 3, 4})},
		"rows descending":      {Values: values, Columns: e.i32([]int32{0, 1, 0, 1}), RowPtr: e.i32([]int32{0, 3, 1, 4})},
		"rows from 1":          {Values: values, Columns: e.i32([]int32{0, 1, 0, 1}), RowPtr: e.i32([]int32{1, 2, 3, 4})},
		"rows beyond the last": {Values: values, Columns: e.i32([]int32{0, 1, 0, 1}), RowPtr: e.i32([]int32{0, 1, 3, 5})},
		"rows not to the end":  {Values: values, Columns: e.i32([]int32{0, 1, 0, 1}), RowPtr: e.i32([]int32{0, 1, 2, 3})},
		"weight -128":          {Values: e.i8(lowBlock, 4, 32), Columns: e.i32([]int32{0, 0, 1, 0}), RowPtr: e.i32([]int32{0, 1, 3, 4})},
	} {
		w.M, w.K = callVocab, callCols
		bad = append(bad, badArg{"QSparseLinear", what, func() error { return b.QSparseLinear(o.dlogits, o.q8, o.perRow, w, o.vScale, nil) }})
	}
	return bad
}
