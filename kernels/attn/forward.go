package attn

import (
	"math"

	"mito/kernels/gemm"
	"mito/kernels/parallel"
	"mito/kernels/vec"
)

const (
	// queryBlock rows of scores are in work at a time, keyBlock columns: 48 KB of them, and as much again for the
	// gradients.
	queryBlock = 48
	keyBlock   = 256

	// Key blocks begin at a multiple of this, which panels of every width do, so that the blocks of a query do not
	// depend on which part of the keys its thread has packed.
	keyAlign = 32
)

// Forward computes causal attention over whole sequences, for training:
//
//	out[b,i,h] = Σ_j softmax_j(Scale · q[b,i,h]·k[b,j,g]) v[b,j,g],  i-Window < j <= i,  g = h/(H/G)
//
// in blocks of queries and keys with a running maximum and sum (Dao et al., FlashAttention, arXiv:2205.14135), so no
// T x T matrix exists. It keeps lse, the log-sum-exp of each row of scaled scores, for Backward.
//
//	out, q  [B,T,H,D] f32      k, v  [B,T,G,D] f32      lse  [B,T,H] f32
//
// out and lse overlap nothing else. Results do not depend on the threads of p (nil: the caller only) or on the other
// sequences of the batch. A NaN or an infinity in k or v may also reach the rows just before the first that sees it, since
// products are computed in whole tiles. Nothing is allocated in steady state. It panics when a slice has not the size of its tensor
// or s.Check fails.
func Forward(out, lse, q, k, v []float32, s Shape, p *parallel.Pool) {
	const op = "attn: Forward"
	s.mustCheck(op)
	s.mustHave(op, "out", out, s.Heads*s.HeadDim)
	s.mustHave(op, "q", q, s.Heads*s.HeadDim)
	s.mustHave(op, "k", k, s.KVHeads*s.HeadDim)
	s.mustHave(op, "v", v, s.KVHeads*s.HeadDim)
	s.mustHave(op, "lse", lse, s.Heads)
	if len(q) == 0 {
		return
	}
	t := forwardTasks.Get()
	defer forwardTasks.Put(t)
	*t = forwardTask{Shape: s, out: out, lse: lse, q: q, k: k, v: v}
	// Every task packs the keys and values that it sees, so long sequences are cut only when there are too few heads
	// to keep the threads busy.
	t.parts = 1
	if groups := s.Batch * s.KVHeads; groups < 4*p.Threads() && p.Threads() > 1 {
		t.parts = min((4*p.Threads()+groups-1)/groups, (s.Time+queryBlock-1)/queryBlock)
	}
	p.Run(s.Batch*s.KVHeads*t.parts, 1, t)
}

type forwardTask struct {
	Shape
	out, lse, q, k, v []float32
	parts             int // a task is one key head and one of so many runs of query blocks
}

func (t *forwardTask) Do(lo, hi int) {
	w := workspaces.Get()
	defer workspaces.Put(w)
	w.rows = rowKernels.Funcs()
	blocks := (t.Time + queryBlock - 1) / queryBlock
	for item := lo; item < hi; item++ {
		group, part := item/t.parts, item%t.parts
		b, g := group/t.KVHeads, group%t.KVHeads
		first, last := part*blocks/t.parts*queryBlock, min((part+1)*blocks/t.parts*queryBlock, t.Time)
		w.sequence = b
		base := t.first(b, first) &^ (keyAlign - 1)
		w.base = base
		w.kT.Pack(t.k[t.kv(b, base, g):], t.KVHeads*t.HeadDim, true, t.HeadDim, last-base)
		w.v.Pack(t.v[t.kv(b, base, g):], t.KVHeads*t.HeadDim, false, last-base, t.HeadDim)
		w.fit(w.v.Padded(), 0)
		share := t.Heads / t.KVHeads
		for h := g * share; h < (g+1)*share; h++ {
			for i := first; i < last; i += queryBlock {
				t.block(w, b, h, i, min(i+queryBlock, last))
			}
		}
	}
}

// block computes the rows i0 <= i < i1 of one head.
func (t *forwardTask) block(w *workspace, b, h, i0, i1 int) {
	rows := i1 - i0
	for r := range rows {
		w.top[r], w.sum[r] = minusInf, 0
	}
	w.started = [queryBlock]bool{}
	q := gemm.Strided{Data: t.q[t.row(b, i0, h):], Row: t.Heads * t.HeadDim, Col: 1}
	w.keyTiles(&t.Shape, i0, i1, func(tile keyTile) {
		w.scores(&t.Shape, tile, &w.kT, q, w.s[:])
		for r := range rows {
			t.softmaxRow(w, tile, r)
		}
		w.rowTiles(&t.Shape, tile, func(r, n, c0, c1 int) {
			p := gemm.Strided{Data: w.s[r*keyBlock+c0:], Row: keyBlock, Col: 1}
			k0 := tile.j0 - w.base
			w.v.Mul(w.mul, w.out[r*w.pad:], w.pad, p, n, k0+c0, k0+c1, 0, w.pad, w.started[r])
			w.started[r] = true
		})
	})
	for r := range rows {
		o := t.out[t.row(b, i0+r, h):][:t.HeadDim]
		vec.Scale(o, w.out[r*w.pad:][:t.HeadDim], 1/w.sum[r])
		t.lse[t.stat(b, i0+r, h)] = w.top[r] + float32(math.Log(float64(w.sum[r])))
	}
}

// softmaxRow turns the scores of row r of the tile into unnormalised probabilities under the running maximum, and zero
// where the row sees no key.
func (t *forwardTask) softmaxRow(w *workspace, tile keyTile, r int) {
	row := w.s[r*keyBlock : (r+1)*keyBlock]
	lo, hi := tile.seen(&t.Shape, w.sequence, r)
	if lo >= hi {
		clear(row)
		return
	}
	x := framed(row, lo, hi, minusInf)
	old := w.top[r]
	top, sum := w.rows.softmax(&x[0], len(x), t.Scale, old)
	if top > old && w.sum[r] != 0 {
		shrink := float32(math.Exp(float64(old - top)))
		w.sum[r] *= shrink
		out := w.out[r*w.pad : (r+1)*w.pad]
		vec.Scale(out, out, shrink)
	}
	w.top[r] = top
	w.sum[r] += sum
}
