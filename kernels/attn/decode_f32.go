package attn

import (
	"mito/kernels/gemm"
	"mito/kernels/kv"
	"mito/kernels/vec"
)

// DecodeShape is kv.Shape over float32 pages.
type DecodeShape kv.Shape

// PageF32 holds the float32 keys and values of PageSize positions of one layer, laid out in panels so that scores and
// weighted sums are small matrix products: keys [G][PageSize/32][D][32], the columns being positions, and values
// [G][D/32][PageSize][32], the columns being dimensions; last panels are padded. What lies behind the last stored position
// is never part of a result.
type PageF32 struct{ k, v []float32 }

const f32Cols = gemm.PanelCols

func panelsOf(n int) int { return (n + f32Cols - 1) / f32Cols }

// NewPagesF32 returns n empty pages that share two allocations.
func NewPagesF32(n int, s *DecodeShape) []PageF32 {
	nk, nv := s.pageF32()
	k, v := make([]float32, n*nk), make([]float32, n*nv)
	pages := make([]PageF32, n)
	for i := range pages {
		pages[i] = PageF32{k[i*nk:][:nk:nk], v[i*nv:][:nv:nv]}
	}
	return pages
}

// pageF32 returns the elements of the keys and of the values of a page.
func (s *DecodeShape) pageF32() (k, v int) {
	return s.KVHeads * panelsOf(s.PageSize) * s.HeadDim * f32Cols, s.KVHeads * panelsOf(s.HeadDim) * s.PageSize * f32Cols
}

// Bytes returns the memory of the page.
func (p *PageF32) Bytes() int { return 4 * (len(p.k) + len(p.v)) }

// CopyFrom makes p a copy of q, which has the same shape.
func (p *PageF32) CopyFrom(q *PageF32) {
	copy(p.k, q.k)
	copy(p.v, q.v)
}

// BytesF32 returns what Bytes of a page of this shape would be.
func (s *DecodeShape) BytesF32() int {
	k, v := s.pageF32()
	return 4 * (k + v)
}

// ScratchF32 holds the intermediate results of one AttendF32 at a time. It grows with the positions that are attended to.
type ScratchF32 struct {
	scores []float32 // [H][positions padded]
	part   []float32 // [H/G][positions of a page padded]: scores that a page has not where their row wants them
	out    []float32 // [H][D padded], not yet divided by
	sums   []float32 // [H]
	mul    *gemm.Scratch
}

// NewScratchF32 returns scratch for positions below maxPos; it grows when a position lies beyond. Shapes that share it have at most
// the query heads of s.
func NewScratchF32(s *DecodeShape, maxPos int) *ScratchF32 {
	return &ScratchF32{
		scores: make([]float32, s.Heads*panelsOf(maxPos)*f32Cols), out: make([]float32, s.Heads*panelsOf(s.HeadDim)*f32Cols),
		sums: make([]float32, s.Heads), mul: gemm.NewScratch(),
	}
}

// StoreF32 stores the key and the value of one token in a slot of a page.
//
//	k, v [G,D] f32
func (s *DecodeShape) StoreF32(p *PageF32, slot int, k, v []float32) {
	d, kp, vp := s.HeadDim, panelsOf(s.PageSize), panelsOf(s.HeadDim)
	for g := range s.KVHeads {
		column := p.k[(g*kp+slot/f32Cols)*d*f32Cols+slot%f32Cols:]
		for i, x := range k[g*d:][:d] {
			column[i*f32Cols] = x
		}
		for i := range vp {
			at := g*d + i*f32Cols
			copy(p.v[((g*vp+i)*s.PageSize+slot)*f32Cols:], v[at:min(at+f32Cols, (g+1)*d)])
		}
	}
}

// AttendF32 computes attention of one position over the cache, all heads; head h reads keys and values g = h·G/H:
//
//	p = softmax over t of Scale·Σ_d q[h,d]·k[t,g,d];   out[h,d] = Σ_t p[t]·v[t,g,d]       t0 ≤ t ≤ pos
//
// where t0 is the first position in the window. Sums over d and t are chains in ascending order as gemm.Gemm makes
// them; the softmax is that of Forward, divided by its sum at the end. So the page size does not show in the bits. Position t is
// slot t%PageSize of pages[table[t/PageSize]].
//
//	out, q [H,D] f32
func (s *DecodeShape) AttendF32(out, q []float32, pages []PageF32, table []int32, pos int, sc *ScratchF32) {
	first := 0
	if s.Window > 0 {
		first = max(0, pos-s.Window+1)
	}
	d, base := s.HeadDim, first&^(f32Cols-1) // rows of scores begin at base
	ld, lo, n := panelsOf(pos+1-base)*f32Cols, first-base, pos+1-first
	if len(sc.scores) < s.Heads*ld {
		sc.scores = make([]float32, 2*s.Heads*ld)
	}
	for t := first; t <= pos; {
		slot := t % s.PageSize
		size := min(s.PageSize-slot, pos+1-t)
		s.scoresF32(q, &pages[table[t/s.PageSize]], t, size, base, ld, sc)
		t += size
	}
	softmax := rowKernels.Funcs().softmax
	for h := range s.Heads {
		row := framed(sc.scores[h*ld:][:ld], lo, lo+n, minusInf)
		_, sc.sums[h] = softmax(&row[0], len(row), s.Scale, minusInf)
	}
	for t := first; t <= pos; {
		slot := t % s.PageSize
		size := min(s.PageSize-slot, pos+1-t)
		s.weighF32(&pages[table[t/s.PageSize]], slot, size, t-base, ld, t > first, sc)
		t += size
	}
	wide := panelsOf(d) * f32Cols
	for h := range s.Heads {
		vec.Scale(out[h*d:][:d], sc.out[h*wide:], 1/sc.sums[h])
	}
}

// scoresF32 computes the scores of size positions from t on, which are in one page, into rows that begin at base, ld apart.
func (s *DecodeShape) scoresF32(q []float32, p *PageF32, t, size, base, ld int, sc *ScratchF32) {
	d, per, kp, slot := s.HeadDim, s.Heads/s.KVHeads, panelsOf(s.PageSize), t%s.PageSize
	from := slot / f32Cols
	panels := (slot+size-1)/f32Cols + 1 - from
	aligned := (t-slot)%f32Cols == 0
	wide := panels * f32Cols
	if !aligned && len(sc.part) < per*wide {
		sc.part = make([]float32, per*panelsOf(s.PageSize)*f32Cols)
	}
	// Head after head, each product would wait for the end of the chains of the one before.
	for g := range s.KVHeads {
		keys := gemm.PanelOperand{Data: p.k[(g*kp+from)*d*f32Cols:], Stride: d * f32Cols}
		if aligned {
			// Columns behind the page's last are overwritten by those of the next, or framed.
			gemm.MulPanels(sc.mul, sc.scores[g*per*ld+t-slot+from*f32Cols-base:], ld, q[g*per*d:], d, per, keys, panels, d)
			continue
		}
		gemm.MulPanels(sc.mul, sc.part, wide, q[g*per*d:], d, per, keys, panels, d)
		for h := range per {
			copy(sc.scores[(g*per+h)*ld+t-base:][:size], sc.part[h*wide+slot-from*f32Cols:])
		}
	}
}

// weighF32 sums size values of a page from a slot on with the probabilities at lo of their rows, or adds them to the sums.
func (s *DecodeShape) weighF32(p *PageF32, slot, size, lo, ld int, add bool, sc *ScratchF32) {
	per, vp := s.Heads/s.KVHeads, panelsOf(s.HeadDim)
	wide := vp * f32Cols
	for g := range s.KVHeads {
		values := gemm.PanelOperand{Data: p.v[(g*vp*s.PageSize+slot)*f32Cols:], Stride: s.PageSize * f32Cols}
		if out, p := sc.out[g*per*wide:], sc.scores[g*per*ld+lo:]; add {
			gemm.AddPanels(sc.mul, out, wide, p, ld, per, values, vp, size)
		} else {
			gemm.MulPanels(sc.mul, out, wide, p, ld, per, values, vp, size)
		}
	}
}
