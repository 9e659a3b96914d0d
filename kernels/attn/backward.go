package attn

import (
	"mito/kernels/gemm"
	"mito/kernels/parallel"
	"mito/kernels/vec"
)

// Backward computes the gradients of the inputs of Forward from dout, the gradient of out. The probabilities are computed
// again from lse, block by block (Dao et al., arXiv:2205.14135, §3.1, appendix B.4):
//
//	p = exp(Scale·q·k - lse),  dv = Σ_i p·dout,  ds = p·(dout·v - dout·out),  dq = Scale·Σ_j ds·k,  dk = Scale·Σ_i ds·q
//
//	dq, dout, out, q  [B,T,H,D] f32      dk, dv, k, v  [B,T,G,D] f32      lse  [B,T,H] f32
//
// dq, dk and dv are set, not added to, and overlap nothing else. A key head is worked on by one thread, its query heads
// and blocks in order, so results do not depend on the threads of p (nil: the caller only). Nothing is allocated in
// steady state. It panics as Forward does.
func Backward(dq, dk, dv, dout, out, lse, q, k, v []float32, s Shape, p *parallel.Pool) {
	const op = "attn: Backward"
	s.mustCheck(op)
	s.mustHave(op, "dq", dq, s.Heads*s.HeadDim)
	s.mustHave(op, "dk", dk, s.KVHeads*s.HeadDim)
	s.mustHave(op, "dv", dv, s.KVHeads*s.HeadDim)
	s.mustHave(op, "dout", dout, s.Heads*s.HeadDim)
	s.mustHave(op, "out", out, s.Heads*s.HeadDim)
	s.mustHave(op, "lse", lse, s.Heads)
	s.mustHave(op, "q", q, s.Heads*s.HeadDim)
	s.mustHave(op, "k", k, s.KVHeads*s.HeadDim)
	s.mustHave(op, "v", v, s.KVHeads*s.HeadDim)
	if len(q) == 0 {
		return
	}
	t := backwardTasks.Get()
	defer backwardTasks.Put(t)
	*t = backwardTask{s, dq, dk, dv, dout, out, lse, q, k, v}
	p.Run(s.Batch*s.KVHeads, 1, t)
}

type backwardTask struct {
	Shape
	dq, dk, dv, dout, out, lse, q, k, v []float32
}

func (t *backwardTask) Do(lo, hi int) {
	w := workspaces.Get()
	defer workspaces.Put(w)
	w.rows = rowKernels.Funcs()
	w.base = 0
	stride := t.KVHeads * t.HeadDim
	share := t.Heads / t.KVHeads
	for item := lo; item < hi; item++ {
		b, g := item/t.KVHeads, item%t.KVHeads
		w.sequence = b
		at := t.kv(b, 0, g)
		w.kT.Pack(t.k[at:], stride, true, t.HeadDim, t.Time)
		w.vT.Pack(t.v[at:], stride, true, t.HeadDim, t.Time)
		w.k.Pack(t.k[at:], stride, false, t.Time, t.HeadDim)
		w.fit(w.k.Padded(), t.Time)
		for h := g * share; h < (g+1)*share; h++ {
			for i := 0; i < t.Time; i += queryBlock {
				t.block(w, b, h, i, min(i+queryBlock, t.Time))
			}
		}
		for i := range t.Time {
			copy(t.dk[at+i*stride:][:t.HeadDim], w.dk[i*w.pad:])
			copy(t.dv[at+i*stride:][:t.HeadDim], w.dv[i*w.pad:])
		}
	}
}

// block adds what the query rows i0 <= i < i1 of one head contribute, and computes their dq.
func (t *backwardTask) block(w *workspace, b, h, i0, i1 int) {
	rows := i1 - i0
	stride := t.Heads * t.HeadDim
	at := t.row(b, i0, h)
	q := gemm.Strided{Data: t.q[at:], Row: stride, Col: 1}
	dout := gemm.Strided{Data: t.dout[at:], Row: stride, Col: 1}
	w.q.Pack(q.Data, stride, false, rows, t.HeadDim)
	w.dout.Pack(dout.Data, stride, false, rows, t.HeadDim)
	for r := range rows {
		w.delta[r] = vec.Dot(dout.Data[r*stride:][:t.HeadDim], t.out[at+r*stride:][:t.HeadDim])
	}
	w.started = [queryBlock]bool{}
	w.keyTiles(&t.Shape, i0, i1, func(tile keyTile) {
		w.scores(&t.Shape, tile, &w.kT, q, w.s[:])
		w.scores(&t.Shape, tile, &w.vT, dout, w.ds[:])
		for r := range rows {
			t.gradRow(w, tile, r, t.lse[t.stat(b, i0+r, h)])
		}
		w.rowTiles(&t.Shape, tile, func(r, n, c0, c1 int) {
			ds := gemm.Strided{Data: w.ds[r*keyBlock+c0:], Row: keyBlock, Col: 1}
			w.k.Mul(w.mul, w.out[r*w.pad:], w.pad, ds, n, tile.j0+c0, tile.j0+c1, 0, w.pad, w.started[r])
			w.started[r] = true
		})
		w.keyRowTiles(&t.Shape, tile, func(c, n, r0, r1 int) {
			p := gemm.Strided{Data: w.s[r0*keyBlock+c:], Row: 1, Col: keyBlock}
			ds := gemm.Strided{Data: w.ds[r0*keyBlock+c:], Row: 1, Col: keyBlock}
			to := (tile.j0 + c) * w.pad
			w.dout.Mul(w.mul, w.dv[to:], w.pad, p, n, r0, r1, 0, w.pad, true)
			w.q.Mul(w.mul, w.dk[to:], w.pad, ds, n, r0, r1, 0, w.pad, true)
		})
	})
	for r := range rows {
		copy(t.dq[at+r*stride:][:t.HeadDim], w.out[r*w.pad:])
	}
}

// gradRow makes p of the scores and ds of the probabilities' gradients of row r, zero where the row sees no key.
func (t *backwardTask) gradRow(w *workspace, tile keyTile, r int, lse float32) {
	s := w.s[r*keyBlock : (r+1)*keyBlock]
	ds := w.ds[r*keyBlock : (r+1)*keyBlock]
	lo, hi := tile.seen(&t.Shape, w.sequence, r)
	if lo >= hi {
		clear(s)
		clear(ds)
		return
	}
	s, ds = framed(s, lo, hi, minusInf), framed(ds, lo, hi, 0)
	w.rows.grad(&s[0], &ds[0], len(s), t.Scale, lse, w.delta[r])
}

// keyRowTiles calls f for the columns c..c+n of the tile and the rows r0..r1 that see any of them.
func (w *workspace) keyRowTiles(s *Shape, t keyTile, f func(c, n, r0, r1 int)) {
	for c := 0; c < t.width; c += w.tileRows {
		n := min(w.tileRows, t.width-c)
		r0 := max(t.j0+c-t.i0, 0)
		r1 := min(s.after(w.sequence, t.j0+c+n-1), t.i1) - t.i0
		if r0 < r1 {
			f(c, n, r0, r1)
		}
	}
}
