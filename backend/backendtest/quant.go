package backendtest

import (
	"slices"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/ref"
)

// quantCases are the student's INT8 operations, to the bit.
func quantCases(n, k int) []Case {
	m := k + 3
	cs := []Case{
		{Op: "QuantizeRows", Size: sized(n, k), Bytes: 5 * float64(n*k), build: func(e *env) *trial { return quantizeRows(e, n, k) }},
		{Op: "QEmbed", Size: sized(n, k), Bytes: 5 * float64(n*k), build: func(e *env) *trial { return qembed(e, n, k) }},
	}
	for _, form := range []string{"plain", "bias", "extremes"} {
		cs = append(cs, Case{Op: "QLinear", Size: sized(form, n, m, k), Flops: 2 * float64(n) * float64(m) * float64(k),
			Bytes: float64(n*k + m*k + 4*n*m), build: func(e *env) *trial { return qlinear(e, n, m, k, form) }})
	}
	for _, f := range []struct {
		kind backend.NormKind
		bias bool
		name string
	}{{backend.RMS, false, "rms"}, {backend.Layer, true, "layer"}, {backend.Layer, false, "layer-nobias"}} {
		cs = append(cs, Case{Op: "StudentNorm", Size: sized(f.name, n, k), Bytes: 8 * float64(n*k), build: func(e *env) *trial {
			return studentNorm(e, n, k, f.kind, f.bias)
		}})
	}
	return cs
}

// quantizeRows has rows of zeros, of tiny numbers and of numbers half way between two integers.
func quantizeRows(e *env, n, k int) *trial {
	x := e.normal(n * k)
	for r := range n {
		row := x[r*k:][:k]
		switch r % 7 {
		case 1:
			clear(row)
		case 2:
			for i := range row {
				row[i] *= 0x1p-120
			}
		case 3:
			for i := range row {
				row[i] = float32(i%255-127) + 0.5
			}
			row[0] = 127
		case 4:
			for i := range row {
				row[i] *= 1e30
			}
		}
	}
	q, s := make([]int8, 0, n*k), make([]float32, n)
	for r := range n {
		var row []int8
		row, s[r] = ref.StudentQuantize(x[r*k:][:k])
		q = append(q, row...)
	}
	qo, so := out{name: "q", t: e.make(backend.I8, n, k), exact: q}, out{name: "scale", t: e.empty(n), exact: s}
	xt := e.f32(x, n, k)
	return trialOf(func(t []*tensor.Dense) error { return e.b.QuantizeRows(t[0], t[1], t[2]) }, to(qo), to(so), from("x", xt))
}

func qlinear(e *env, n, m, k int, form string) *trial {
	xq, w := e.int8s(n*k), e.int8s(m*k)
	if form == "extremes" {
		for i := range xq {
			xq[i] = extreme(e.r.IntN(2))
		}
		for i := range w {
			w[i] = extreme(i / k % 2)
		}
	}
	xs, ws := e.positive(n), e.positive(m)
	var bias []float32
	var bt *tensor.Dense
	if form == "bias" {
		bias = e.normal(m)
		bt = e.f32(bias)
	}
	y := out{name: "y", t: e.empty(n, m), exact: ref.StudentLinear(xq, xs, w, ws, bias, k)}
	xt, st, wt, wst := e.i8(xq, n, k), e.f32(xs), e.i8(w, m, k), e.f32(ws)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.QLinear(t[0], t[1], t[2], t[3], t[4], t[5]) },
		to(y), from("xq", xt), from("xscale", st), from("w", wt), from("wscale", wst), from("bias", bt).orNil())
	tr.refuseValues("weight -128", func() error {
		low := slices.Clone(w)
		low[len(low)/2] = -128
		return e.b.QLinear(y.t, xt, st, e.i8(low, m, k), wst, nil)
	})
	return tr
}

// extreme is -127 or 127.
func extreme(bit int) int8 { return int8(254*bit - 127) }

func qembed(e *env, n, c int) *trial {
	vocab := n/2 + 1
	ids, table, scale := e.ids(n, vocab), e.int8s(vocab*c), e.positive(vocab)
	want := make([]float32, 0, n*c)
	for _, id := range ids {
		for _, v := range table[int(id)*c:][:c] {
			want = append(want, float32(v)*scale[id])
		}
	}
	y := out{name: "y", t: e.empty(n, c), exact: want}
	tt, st := e.i8(table, vocab, c), e.f32(scale)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.QEmbed(t[0], t[1], t[2], t[3]) },
		to(y), from("table", tt), from("scale", st), from("ids", e.i32(ids)))
	tr.refuseIDs(e, ids, vocab, func(ids *tensor.Dense) error { return e.b.QEmbed(y.t, tt, st, ids) })
	return tr
}

func studentNorm(e *env, n, c int, kind backend.NormKind, withBias bool) *trial {
	x, gain, bias := e.normal(n*c), e.normal(c), e.normal(c)
	bt := e.f32(bias)
	if !withBias {
		bias, bt = nil, nil
	}
	want := make([]float32, 0, n*c)
	for r := range n {
		row := x[r*c:][:c]
		if kind == backend.RMS {
			want = append(want, ref.StudentRMSNorm(row, gain, normEps)...)
		} else {
			want = append(want, ref.StudentLayerNorm(row, gain, bias, normEps)...)
		}
	}
	y := out{name: "y", t: e.empty(n, c), exact: want}
	xt, gt := e.f32(x, n, c), e.f32(gain)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.StudentNorm(t[0], t[1], t[2], t[3], kind, normEps) },
		to(y), from("x", xt), from("gain", gt), from("bias", bt).orNil())
	tr.refuse("kind", func() error { return e.b.StudentNorm(y.t, xt, gt, nil, 7, normEps) })
	return tr
}

// sparseCases are block-sparse weights [m,k] at several shares of stored blocks, with empty block rows among them.
func sparseCases(n, m, k int) []Case {
	var cs []Case
	for _, keep := range []float64{1, 0.5, 0.1} {
		for _, withBias := range []bool{false, true} {
			form := sized("keep", keep)
			if withBias {
				form += "-bias"
			}
			cs = append(cs, Case{Op: "QSparseLinear", Size: sized(form, n, m, k), Flops: 2 * keep * float64(n) * float64(m) * float64(k),
				Bytes: keep*float64(m*k) + float64(n*k+4*n*m), build: func(e *env) *trial { return sparse(e, n, m, k, keep, withBias) }})
		}
	}
	return cs
}

func sparse(e *env, n, m, k int, keep float64, withBias bool) *trial {
	w, dense := e.blocks(m, k, keep)
	xq, xs, ws := e.int8s(n*k), e.positive(n), e.positive(m)
	var bias []float32
	var bt *tensor.Dense
	if withBias {
		bias = e.normal(m)
		bt = e.f32(bias)
	}
	y := out{name: "y", t: e.empty(n, m), exact: ref.StudentLinear(xq, xs, dense, ws, bias, k)}
	xt, st, wst := e.i8(xq, n, k), e.f32(xs), e.f32(ws)
	tr := trialOf(func(t []*tensor.Dense) error {
		s := backend.BlockSparse{M: m, K: k, Values: t[3], Columns: t[4], RowPtr: t[5]}
		return e.b.QSparseLinear(t[0], t[1], t[2], s, t[6], t[7])
	}, to(y), from("xq", xt), from("xscale", st), from("w.Values", w.Values), from("w.Columns", w.Columns), from("w.RowPtr", w.RowPtr),
		from("wscale", wst), from("bias", bt).orNil())
	if m == 12 && k == 16 { // three rows of two blocks
		refuseBlocks(e, tr, func(w backend.BlockSparse) error { return e.b.QSparseLinear(y.t, xt, st, w, wst, nil) })
	}
	return tr
}

// refuseBlocks adds block-sparse matrices [12,16] that are none.
func refuseBlocks(e *env, tr *trial, call func(w backend.BlockSparse) error) {
	values := e.int8s(4 * 32)
	low := slices.Clone(values)
	low[40] = -128
	for _, c := range []struct {
		what            string
		values          []int8
		columns, rowPtr []int32
	}{
		{"column -1", values, []int32{-1, 0, 1, 0}, []int32{0, 1, 3, 4}},
		{"column outside", values, []int32{0, 0, 2, 0}, []int32{0, 1, 3, 4}},
		{"column twice", values, []int32{0, 1, 1, 0}, []int32{0, 1, 3, 4}},
		{"columns descending", values, []int32{0, 1, 0, 0}, []int32{0, 1, 3, 4}},
		{"rows descending", values, []int32{0, 1, 0, 1}, []int32{0, 3, 1, 4}},
		{"rows from 1", values, []int32{0, 1, 0, 1}, []int32{1, 2, 3, 4}},
		{"rows beyond the last", values, []int32{0, 1, 0, 1}, []int32{0, 1, 3, 5}},
		{"rows not to the end", values, []int32{0, 1, 0, 1}, []int32{0, 1, 2, 3}},
		{"weight -128", low, []int32{0, 0, 1, 0}, []int32{0, 1, 3, 4}},
	} {
		tr.refuseValues(c.what, func() error {
			return call(backend.BlockSparse{M: 12, K: 16, Values: e.i8(c.values, 4, 32), Columns: e.i32(c.columns), RowPtr: e.i32(c.rowPtr)})
		})
	}
}

// blocks draws a block-sparse matrix and the same matrix with its zeros.
func (e *env) blocks(m, k int, keep float64) (w backend.BlockSparse, dense []int8) {
	dense = make([]int8, m*k)
	var values []int8
	var columns []int32
	ptr := []int32{0}
	for br := range m / 4 {
		for bc := range k / 8 {
			first := len(columns) == 0 && br == m/4-1 // at least one block: tensors are not empty
			if br%3 == 1 && keep < 1 && !first || e.r.Float64() >= keep && !first {
				continue
			}
			block := e.int8s(32)
			values, columns = append(values, block...), append(columns, int32(bc))
			for r := range 4 {
				copy(dense[(br*4+r)*k+bc*8:], block[r*8:][:8])
			}
		}
		ptr = append(ptr, int32(len(columns)))
	}
	return backend.BlockSparse{M: m, K: k, Values: e.i8(values, len(columns), 32), Columns: e.i32(columns), RowPtr: e.i32(ptr)}, dense
}
