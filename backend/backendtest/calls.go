package backendtest

import (
	"gorgonia.org/tensor"

	"mito/backend"
)

// operands are tensors of every role, n rows, c columns and v entries.
type operands struct {
	x, y, z, logits, probs, dlogits, table *tensor.Dense // [n,c], [n,v], [v,c]
	perRow, perRow2, weights               *tensor.Dense // [n]
	perCol, perCol2, perCol3               *tensor.Dense // [c]
	ids                                    *tensor.Dense // [n]
	one                                    *tensor.Dense // [1]
	step, work                             *tensor.Dense
	q8, w8                                 *tensor.Dense // [n,c], [v,c]
	vScale                                 *tensor.Dense // [v]
}

const (
	callRows, callCols, callVocab = 6, 16, 12
	callTop                       = 3
)

func newOperands(e *env) operands {
	const n, c, v = callRows, callCols, callVocab
	_, step := e.scalars(1, 0.9, 0.99)
	matrix := func(n, c int) *tensor.Dense { return e.f32(e.positive(n*c), n, c) }
	vector := func(n int) *tensor.Dense { return e.f32(e.positive(n)) }
	return operands{
		x: matrix(n, c), y: matrix(n, c), z: matrix(n, c), logits: matrix(n, v), probs: matrix(n, v), dlogits: matrix(n, v), table: matrix(v, c),
		perRow: vector(n), perRow2: vector(n), weights: vector(n), perCol: vector(c), perCol2: vector(c), perCol3: vector(c),
		ids: e.i32(e.ids(n, v)), one: vector(1), step: step, work: vector(backend.MuonWork(n, c)),
		q8: e.i8(e.int8s(n*c), n, c), w8: e.i8(e.int8s(v*c), v, c), vScale: vector(v),
	}
}

// calls has every operation of the seam with good arguments.
func calls(e *env) []call {
	o := newOperands(e)
	var cs []call
	add := func(op string, run func(t []*tensor.Dense) error, args ...arg) {
		cs = append(cs, call{op: op, args: args, run: run})
	}
	a := func(name string, t *tensor.Dense) arg { return arg{name: name, t: t} }
	opt := func(name string, t *tensor.Dense) arg { return arg{name: name, t: t, optional: true} }
	b := e.b

	add("MatMul", func(t []*tensor.Dense) error {
		return b.MatMul(t[0], t[1], t[2], backend.MatMulArgs{TransB: true, Bias: t[3]})
	}, a("c", o.dlogits), a("a", o.x), a("b", o.table), opt("bias", o.vScale))
	add("SumRows", func(t []*tensor.Dense) error { return b.SumRows(t[0], t[1]) }, a("dst", o.perCol3), arg{name: "x", t: o.x, any: true})

	add("Add", func(t []*tensor.Dense) error { return b.Add(t[0], t[1], t[2]) }, a("dst", o.z), a("a", o.x), a("b", o.y))
	add("Mul", func(t []*tensor.Dense) error { return b.Mul(t[0], t[1], t[2]) }, a("dst", o.z), a("a", o.x), a("b", o.y))
	add("Activate", func(t []*tensor.Dense) error { return b.Activate(t[0], t[1], backend.GELU) }, a("dst", o.z), a("x", o.x))
	add("ActivateBackward", func(t []*tensor.Dense) error { return b.ActivateBackward(t[0], t[1], t[2], backend.SiLU) },
		a("dx", o.z), a("dy", o.y), a("x", o.x))
	add("SwiGLU", func(t []*tensor.Dense) error { return b.SwiGLU(t[0], t[1], t[2]) }, a("dst", o.z), a("gate", o.x), a("up", o.y))
	dup := e.empty(callRows, callCols)
	add("SwiGLUBackward", func(t []*tensor.Dense) error { return b.SwiGLUBackward(t[0], t[1], t[2], t[3], t[4]) },
		a("dgate", o.z), a("dup", dup), a("dy", e.f32(e.normal(callRows*callCols), callRows, callCols)), a("gate", o.x), a("up", o.y))
	add("Dropout", func(t []*tensor.Dense) error {
		return b.Dropout(t[0], t[1], backend.DropoutArgs{Rate: 0.5, Step: t[2]})
	},
		a("dst", o.z), a("x", o.x), opt("step", o.step))
	add("Softmax", func(t []*tensor.Dense) error { return b.Softmax(t[0], t[1], 1, 1, false) }, a("dst", o.z), a("x", o.x))

	add("RMSNorm", func(t []*tensor.Dense) error { return b.RMSNorm(t[0], t[1], t[2], t[3], normEps) },
		a("y", o.z), a("rstd", o.perRow), a("x", o.x), a("gain", o.perCol))
	add("RMSNormBackward", func(t []*tensor.Dense) error { return b.RMSNormBackward(t[0], t[1], t[2], t[3], t[4], t[5]) },
		a("dx", o.z), a("dgain", o.perCol3), a("dy", o.y), a("x", o.x), a("gain", o.perCol), a("rstd", o.perRow))
	add("LayerNorm", func(t []*tensor.Dense) error { return b.LayerNorm(t[0], t[1], t[2], t[3], t[4], t[5], normEps) },
		a("y", o.z), a("mean", o.perRow2), a("rstd", o.perRow), a("x", o.x), a("gain", o.perCol), opt("bias", o.perCol2))
	add("LayerNormBackward", func(t []*tensor.Dense) error {
		return b.LayerNormBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
	},
		a("dx", o.z), a("dgain", o.perCol3), opt("dbias", o.perCol2), a("dy", o.y), a("x", o.x), a("gain", o.perCol),
		a("mean", o.perRow2), a("rstd", o.perRow))

	add("Embed", func(t []*tensor.Dense) error { return b.Embed(t[0], t[1], t[2], false) },
		a("dst", o.z), arg{name: "table", t: o.table, any: true}, a("ids", o.ids))
	add("EmbedBackward", func(t []*tensor.Dense) error { return b.EmbedBackward(t[0], t[1], t[2]) },
		arg{name: "dtable", t: o.table, any: true}, a("dy", o.x), a("ids", o.ids))
	cos, sin := tables(callVocab, 8)
	add("RoPE", func(t []*tensor.Dense) error { return b.RoPE(t[0], t[1], t[2], t[3], false) },
		a("x", o.z), a("positions", o.ids), a("cos", e.f32(cos, callVocab, 4)), a("sin", e.f32(sin, callVocab, 4)))

	cs = append(cs, attentionCalls(e)...)
	cs = append(cs, lossCalls(e, o)...)
	return append(cs, quantCalls(e, o)...)
}

func attentionCalls(e *env) []call {
	args := backend.AttentionArgs{Batch: 2, Time: 3, Heads: 4, KVHeads: 2, HeadDim: 4, Scale: 0.5}
	m := func(name string, c int) arg { return arg{name: name, t: e.f32(e.positive(6*c), 6, c)} }
	b := e.b
	return []call{
		{"Attention", []arg{m("out", 16), m("lse", 4), m("q", 16), m("k", 8), m("v", 8)}, func(t []*tensor.Dense) error {
			return b.Attention(t[0], t[1], t[2], t[3], t[4], args)
		}},
		{"AttentionBackward", []arg{
			m("dq", 16), m("dk", 8), m("dv", 8), m("dout", 16), m("out", 16), m("lse", 4), m("q", 16), m("k", 8), m("v", 8),
		}, func(t []*tensor.Dense) error {
			return b.AttentionBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], args)
		}},
		{"QAttention", []arg{m("out", 16), m("q", 16), m("k", 8), m("v", 8)}, func(t []*tensor.Dense) error {
			return b.QAttention(t[0], t[1], t[2], t[3], args)
		}},
	}
}

func lossCalls(e *env, o operands) []call {
	b := e.b
	a := func(name string, t *tensor.Dense) arg { return arg{name: name, t: t} }
	opt := func(name string, t *tensor.Dense) arg { return arg{name: name, t: t, optional: true} }
	top := e.i32([]int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8}, callRows, callTop)
	topProbs := e.f32(e.positive(callRows*callTop), callRows, callTop)
	distill := func(step *tensor.Dense) backend.DistillArgs {
		return backend.DistillArgs{Temperature: 2, Scale: 1, Step: step}
	}
	adamW := backend.AdamWArgs{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}
	muon := backend.MuonArgs{Momentum: 0.9, Steps: 1, LRScale: 1}
	w := e.f32(e.positive(callRows*callCols), callRows, callCols)
	free := arg{name: "x", t: o.x, any: true}
	work := arg{name: "work", t: o.work, any: true}
	return []call{
		{"CrossEntropy", []arg{
			a("loss", o.perRow), {name: "dlogits", t: o.dlogits, optional: true}, a("logits", o.logits), a("targets", o.ids),
			a("weights", o.weights), opt("step", o.step),
		}, func(t []*tensor.Dense) error {
			return b.CrossEntropy(t[0], t[1], t[2], t[3], t[4], backend.CrossEntropyArgs{Scale: 1, Step: t[5]})
		}},
		{"Distill", []arg{
			a("kl", o.perRow), a("dlogits", o.dlogits), a("logits", o.logits), a("probs", o.probs), a("weights", o.weights), opt("step", o.step),
		}, func(t []*tensor.Dense) error { return b.Distill(t[0], t[1], t[2], t[3], t[4], distill(t[5])) }},
		{"DistillTopK", []arg{
			a("kl", o.perRow), a("dlogits", o.dlogits), a("logits", o.logits), a("ids", top), a("probs", topProbs),
			a("tail", o.perRow2), a("weights", o.weights), opt("step", o.step),
		}, func(t []*tensor.Dense) error {
			return b.DistillTopK(t[0], t[1], t[2], t[3], t[4], t[5], t[6], distill(t[7]))
		}},
		{"Sum", []arg{a("dst", o.one), free}, func(t []*tensor.Dense) error { return b.Sum(t[0], t[1]) }},
		{"SumSquares", []arg{a("dst", o.one), free}, func(t []*tensor.Dense) error { return b.SumSquares(t[0], t[1]) }},
		{"ClipScale", []arg{a("step", o.step), a("sumsq", o.one)}, func(t []*tensor.Dense) error { return b.ClipScale(t[0], t[1], 1) }},
		{"AdamW", []arg{a("p", w), a("g", o.x), a("m", o.y), a("v", o.z), a("step", o.step)},
			func(t []*tensor.Dense) error { return b.AdamW(t[0], t[1], t[2], t[3], t[4], adamW) }},
		{"Muon", []arg{a("p", w), a("g", o.x), a("buf", o.y), work, a("step", o.step)},
			func(t []*tensor.Dense) error { return b.Muon(t[0], t[1], t[2], t[3], t[4], muon) }},
		{"Lerp", []arg{a("dst", o.z), a("x", o.x), opt("step", o.step)},
			func(t []*tensor.Dense) error { return b.Lerp(t[0], t[1], 0.5, t[2]) }},
	}
}

func quantCalls(e *env, o operands) []call {
	b := e.b
	a := func(name string, t *tensor.Dense) arg { return arg{name: name, t: t} }
	opt := func(name string, t *tensor.Dense) arg { return arg{name: name, t: t, optional: true} }
	w, _ := e.blocks(callVocab, callCols, 0.5)
	return []call{
		{"QuantizeRows", []arg{a("q", e.make(backend.I8, callRows, callCols)), a("scale", o.perRow), a("x", o.x)},
			func(t []*tensor.Dense) error { return b.QuantizeRows(t[0], t[1], t[2]) }},
		{"QLinear", []arg{a("y", o.dlogits), a("xq", o.q8), a("xscale", o.perRow), a("w", o.w8), a("wscale", o.vScale), opt("bias", o.vScale)},
			func(t []*tensor.Dense) error { return b.QLinear(t[0], t[1], t[2], t[3], t[4], t[5]) }},
		{"QEmbed", []arg{a("y", o.z), a("table", o.w8), a("scale", o.vScale), a("ids", o.ids)},
			func(t []*tensor.Dense) error { return b.QEmbed(t[0], t[1], t[2], t[3]) }},
		{"StudentNorm", []arg{a("y", o.z), a("x", o.x), a("gain", o.perCol), opt("bias", o.perCol2)},
			func(t []*tensor.Dense) error { return b.StudentNorm(t[0], t[1], t[2], t[3], backend.Layer, normEps) }},
		{"QSparseLinear", []arg{
			a("y", o.dlogits), a("xq", o.q8), a("xscale", o.perRow), a("w.Values", w.Values), a("w.Columns", w.Columns), a("w.RowPtr", w.RowPtr),
			a("wscale", o.vScale), opt("bias", o.vScale),
		}, func(t []*tensor.Dense) error {
			s := backend.BlockSparse{M: w.M, K: w.K, Values: t[3], Columns: t[4], RowPtr: t[5]}
			return b.QSparseLinear(t[0], t[1], t[2], s, t[6], t[7])
		}},
	}
}
