package backendtest

import (
	"fmt"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
)

// piece is an operation over rows that may be computed some rows at a time, as micro-batches do.
type piece struct {
	op   string
	rows int
	outs []out
	run  func(lo, hi int) error
}

// testPieces checks that rows in pieces give the bits of all rows at once, whether a result is set or added to.
func testPieces(t *testing.T, b backend.Backend, o Options) {
	if !o.Bitwise {
		t.Skip("the backend does not promise the bits of whole batches")
	}
	for _, p := range pieces(newEnv(t, b, "pieces")) {
		t.Run(p.op, func(t *testing.T) {
			e := newEnv(t, b, p.op)
			whole := p.collect(e, 0, p.rows)
			for _, cuts := range [][]int{{0, 1, p.rows}, {0, 6, 12, p.rows}, {0, p.rows / 2, p.rows}} {
				for name, got := range p.collect(e, cuts...) {
					if err := same(got, whole[name]); err != nil {
						t.Errorf("%s in pieces %v: %v", name, cuts, err)
					}
				}
			}
		})
	}
}

func (p piece) collect(e *env, cuts ...int) map[string][]uint32 {
	e.reset(p.outs)
	for i := 1; i < len(cuts); i++ {
		if err := p.run(cuts[i-1], cuts[i]); err != nil {
			e.tb.Fatal(err)
		}
	}
	all := map[string][]uint32{}
	for _, x := range p.outs {
		all[x.name] = bits(e.read(x.t))
	}
	return all
}

func same(got, want []uint32) error {
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("element %d of %d: %08x, want %08x", i, len(want), got[i], want[i])
		}
	}
	return nil
}

// rowsOf is the view of rows lo to hi; a tensor of one dimension has one element a row.
func (e *env) rowsOf(t *tensor.Dense, lo, hi int) *tensor.Dense {
	shape := append([]int(nil), t.Shape()...)
	width := t.Shape().TotalSize() / shape[0]
	shape[0] = hi - lo
	return e.view(t, lo*width, shape...)
}

func pieces(e *env) []piece {
	const n, c, v, m = 24, 96, 67, 33
	x, y, w := e.f32(e.normal(n*c), n, c), e.f32(e.normal(n*m), n, m), e.f32(e.normal(m*c), m, c)
	gain, rstd, mean := e.f32(e.normal(c)), e.f32(e.positive(n)), e.f32(e.normal(n))
	logits, probs := e.f32(e.normal(n*v), n, v), e.f32(e.positive(n*v), n, v)
	ids, weights := e.i32(e.ids(n, v)), e.f32(e.weights(n))
	at := e.rowsOf
	set := func(name string, shape ...int) out { return out{name: name, t: e.empty(shape...)} }
	added := func(name string, shape ...int) out {
		o := set(name, shape...)
		o.start = e.normal(o.t.Shape().TotalSize())
		return o
	}

	var ps []piece
	add := func(op string, run func(lo, hi int) error, outs ...out) {
		ps = append(ps, piece{op: op, rows: n, outs: outs, run: run})
	}
	mm := set("c", n, m)
	add("MatMul", func(lo, hi int) error {
		return e.b.MatMul(at(mm.t, lo, hi), at(x, lo, hi), w, backend.MatMulArgs{TransB: true})
	}, mm)
	dw := added("dw", m, c)
	add("MatMul weight gradient", func(lo, hi int) error {
		return e.b.MatMul(dw.t, at(y, lo, hi), at(x, lo, hi), backend.MatMulArgs{TransA: true, Accumulate: true})
	}, dw)
	da := added("da", m, c)
	add("MatMul weight gradient with alpha", func(lo, hi int) error {
		return e.b.MatMul(da.t, at(y, lo, hi), at(x, lo, hi), backend.MatMulArgs{TransA: true, Accumulate: true, Alpha: 0.3})
	}, da)
	db := added("db", c)
	add("SumRows", func(lo, hi int) error { return e.b.SumRows(db.t, at(x, lo, hi)) }, db)

	dx, dgain, dbias := set("dx", n, c), added("dgain", c), added("dbias", c)
	dy := e.f32(e.normal(n*c), n, c)
	add("RMSNormBackward", func(lo, hi int) error {
		return e.b.RMSNormBackward(at(dx.t, lo, hi), dgain.t, at(dy, lo, hi), at(x, lo, hi), gain, at(rstd, lo, hi), false)
	}, dx, dgain)
	add("LayerNormBackward", func(lo, hi int) error {
		return e.b.LayerNormBackward(at(dx.t, lo, hi), dgain.t, dbias.t, at(dy, lo, hi), at(x, lo, hi), gain, at(mean, lo, hi), at(rstd, lo, hi), false)
	}, dx, dgain, dbias)
	yn, rs := set("y", n, c), set("rstd", n)
	add("RMSNorm", func(lo, hi int) error {
		return e.b.RMSNorm(at(yn.t, lo, hi), at(rs.t, lo, hi), at(x, lo, hi), gain, normEps)
	}, yn, rs)

	table := added("dtable", v, c)
	add("EmbedBackward", func(lo, hi int) error { return e.b.EmbedBackward(table.t, at(dy, lo, hi), at(ids, lo, hi)) }, table)
	drop := set("dst", n, c)
	add("Dropout", func(lo, hi int) error {
		return e.b.Dropout(at(drop.t, lo, hi), at(x, lo, hi), backend.DropoutArgs{Rate: 0.3, Seed: 7, Row: 100 + int64(lo)})
	}, drop)

	loss, dl := set("loss", n), set("dlogits", n, v)
	add("CrossEntropy", func(lo, hi int) error {
		return e.b.CrossEntropy(at(loss.t, lo, hi), at(dl.t, lo, hi), at(logits, lo, hi), at(ids, lo, hi), at(weights, lo, hi),
			backend.CrossEntropyArgs{Smoothing: 0.1, Scale: 0.1})
	}, loss, dl)
	kl, dk := set("kl", n), added("dlogits", n, v)
	add("Distill", func(lo, hi int) error {
		return e.b.Distill(at(kl.t, lo, hi), at(dk.t, lo, hi), at(logits, lo, hi), at(probs, lo, hi), at(weights, lo, hi),
			backend.DistillArgs{Temperature: 2, Scale: 0.1})
	}, kl, dk)
	return append(ps, attentionPieces(e, n)...)
}

// attentionPieces cut a batch of sequences of six tokens.
func attentionPieces(e *env, n int) []piece {
	const time, heads, kv, d = 6, 4, 2, 8
	q, k, v := e.f32(e.normal(n*heads*d), n, heads*d), e.f32(e.normal(n*kv*d), n, kv*d), e.f32(e.normal(n*kv*d), n, kv*d)
	dout := e.f32(e.normal(n*heads*d), n, heads*d)
	o, lse := out{name: "out", t: e.empty(n, heads*d)}, out{name: "lse", t: e.empty(n, heads)}
	dq, dk, dv := out{name: "dq", t: e.empty(n, heads*d)}, out{name: "dk", t: e.empty(n, kv*d)}, out{name: "dv", t: e.empty(n, kv*d)}
	args := func(lo, hi int) backend.AttentionArgs {
		return backend.AttentionArgs{Batch: (hi - lo) / time, Time: time, Heads: heads, KVHeads: kv, HeadDim: d, Scale: 0.35}
	}
	at := e.rowsOf
	forward := func(lo, hi int) error {
		lo, hi = lo/time*time, hi/time*time
		if lo == hi {
			return nil
		}
		return e.b.Attention(at(o.t, lo, hi), at(lse.t, lo, hi), at(q, lo, hi), at(k, lo, hi), at(v, lo, hi), args(lo, hi))
	}
	backward := func(lo, hi int) error {
		lo, hi = lo/time*time, hi/time*time
		if lo == hi {
			return nil
		}
		return e.b.AttentionBackward(at(dq.t, lo, hi), at(dk.t, lo, hi), at(dv.t, lo, hi), at(dout, lo, hi), at(o.t, lo, hi), at(lse.t, lo, hi),
			at(q, lo, hi), at(k, lo, hi), at(v, lo, hi), args(lo, hi))
	}
	both := func(lo, hi int) error {
		if err := forward(lo, hi); err != nil {
			return err
		}
		return backward(lo, hi)
	}
	return []piece{
		{op: "Attention", rows: n, outs: []out{o, lse}, run: forward},
		{op: "AttentionBackward", rows: n, outs: []out{o, lse, dq, dk, dv}, run: both},
	}
}
