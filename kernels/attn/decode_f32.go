package attn

import (
	"mito/kernels/gemm"
	"mito/kernels/vec"
)

// PageF32 holds the float32 keys and values of PageSize positions of one layer, laid out in panels so that scores and
// weighted sums are two small matrix products: keys [G][PageSize/32][D][32], the columns being positions, and values
// [G][D/32][PageSize][32], the columns being dimensions; last panels are padded. What lies behind the last stored position
// is never part of a result.
type PageF32 struct{ k, v []float32 }

const f32Cols = gemm.PanelCols

func panelsOf(n int) int { return (n + f32Cols - 1) / f32Cols }

// NewPageF32 returns an empty page.
func NewPageF32(s *DecodeShape) *PageF32 {
	return &PageF32{
		k: make([]float32, s.KVHeads*panelsOf(s.PageSize)*s.HeadDim*f32Cols),
		v: make([]float32, s.KVHeads*panelsOf(s.HeadDim)*s.PageSize*f32Cols),
	}
}

// Bytes returns the memory of the page.
func (p *PageF32) Bytes() int { return 4 * (len(p.k) + len(p.v)) }

// BytesF32 returns what Bytes of a page of this shape would be.
func (s *DecodeShape) BytesF32() int {
	return 4 * f32Cols * s.KVHeads * (panelsOf(s.PageSize)*s.HeadDim + panelsOf(s.HeadDim)*s.PageSize)
}

// ScratchF32 holds the intermediate results of one AttendF32 at a time.
type ScratchF32 struct {
	scores []float32 // [H][positions padded]
	out    []float32 // [H][D padded], not yet divided by
	sums   []float32 // [H]
	mul    *gemm.Scratch
}

// NewScratchF32 returns scratch for pages of this shape.
func NewScratchF32(s *DecodeShape) *ScratchF32 {
	return &ScratchF32{
		scores: make([]float32, s.Heads*panelsOf(s.PageSize)*f32Cols), out: make([]float32, s.Heads*panelsOf(s.HeadDim)*f32Cols),
		sums: make([]float32, s.Heads), mul: gemm.NewScratch(),
	}
}

// StoreF32 stores the key and the value of one token at a position of a page.
//
//	k, v [G,D] f32
func (s *DecodeShape) StoreF32(p *PageF32, pos int, k, v []float32) {
	d, kp, vp := s.HeadDim, panelsOf(s.PageSize), panelsOf(s.HeadDim)
	for g := range s.KVHeads {
		column := p.k[(g*kp+pos/f32Cols)*d*f32Cols+pos%f32Cols:]
		for i, x := range k[g*d:][:d] {
			column[i*f32Cols] = x
		}
		for i := range vp {
			at := g*d + i*f32Cols
			copy(p.v[((g*vp+i)*s.PageSize+pos)*f32Cols:], v[at:min(at+f32Cols, (g+1)*d)])
		}
	}
}

// AttendF32 computes attention of one position over the page, all heads; head h reads keys and values g = h·G/H:
//
//	p = softmax over t of Scale·Σ_d q[h,d]·k[t,g,d];   out[h,d] = Σ_t p[t]·v[t,g,d]       t0 ≤ t ≤ pos
//
// where t0 is the first position in the window. Sums over d and t are chains in ascending order as gemm.Gemm makes
// them; the softmax is that of Forward, divided by its sum at the end.
//
//	out, q [H,D] f32
func (s *DecodeShape) AttendF32(out, q []float32, p *PageF32, pos int, sc *ScratchF32) {
	first := 0
	if s.Window > 0 {
		first = max(0, pos-s.Window+1)
	}
	d, per := s.HeadDim, s.Heads/s.KVHeads
	kp, vp := panelsOf(s.PageSize), panelsOf(d)
	from := first / f32Cols
	panels := pos/f32Cols + 1 - from
	ld, n := panels*f32Cols, pos+1-first
	wide := vp * f32Cols
	softmax := rowKernels.Funcs().softmax
	// Head after head, each product would wait for the end of the chains of the one before.
	for g := range s.KVHeads {
		keys := gemm.PanelOperand{Data: p.k[(g*kp+from)*d*f32Cols:], Stride: d * f32Cols}
		gemm.MulPanels(sc.mul, sc.scores[g*per*ld:], ld, q[g*per*d:], d, per, keys, panels, d)
	}
	lo := first - from*f32Cols
	for h := range s.Heads {
		row := framed(sc.scores[h*ld:][:ld], lo, lo+n, minusInf)
		_, sc.sums[h] = softmax(&row[0], len(row), s.Scale, minusInf)
	}
	for g := range s.KVHeads {
		values := gemm.PanelOperand{Data: p.v[(g*vp*s.PageSize+first)*f32Cols:], Stride: s.PageSize * f32Cols}
		gemm.MulPanels(sc.mul, sc.out[g*per*wide:], wide, sc.scores[g*per*ld+lo:], ld, per, values, vp, n)
	}
	for h := range s.Heads {
		vec.Scale(out[h*d:][:d], sc.out[h*wide:], 1/sc.sums[h])
	}
}
