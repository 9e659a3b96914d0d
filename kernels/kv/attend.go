package kv

import (
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"mito/kernels/vec"
)

const (
	blockPos  = 16 // positions in a block of keys: one 512-bit register of int32 scores
	groupDims = 4  // dimensions of a key that one 32-bit lane consumes
	lineBytes = 64
)

// octaves turns a score's natural logarithm into units of 2^-11 octaves: 2048·log2 e.
const octaves = 0x1.7154760000000p+11

// maxWhole positions are what kernels for all heads sum the weights of in 32 bits.
const maxWhole = 1 << 16

// Shape describes the attention of single query positions over a cache of earlier keys and values.
type Shape struct {
	Heads, KVHeads, HeadDim int     // H, G, D; G divides H
	Window                  int     // a query sees itself and Window-1 positions before it; 0 means all
	PageSize                int     // positions in a page
	Scale                   float32 // of the scores, usually 1/√D
}

// PageQS8 holds the INT8 keys and values of PageSize positions of one layer, quantised per head and token.
//
// Positions are grouped in blocks of 16, the last of a page padded. Per head, keys lie as [block][D/4][16][4] and values as
// [block][8][D padded to 16][2]: four dimensions of a key, and two positions of a value, are what one 32-bit lane of an
// integer dot product consumes. Padding is zero or stale; its products are masked out or multiplied by zero.
type PageQS8 struct {
	k, v           []int8
	kScale, vScale []float32 // [G][blocks·16]
}

func (s *Shape) blocks() int { return (s.PageSize + blockPos - 1) / blockPos }
func (s *Shape) groups() int { return (s.HeadDim + groupDims - 1) / groupDims }
func (s *Shape) padDim() int { return (s.HeadDim + 15) &^ 15 }
func (s *Shape) kBlock() int { return s.groups() * groupDims * blockPos }
func (s *Shape) vBlock() int { return s.padDim() * blockPos }

// NewPagesQS8 returns n empty pages that share a few allocations.
func NewPagesQS8(n int, s *Shape) []PageQS8 {
	nk, nv, ns := s.KVHeads*s.blocks()*s.kBlock(), s.KVHeads*s.blocks()*s.vBlock(), s.KVHeads*s.blocks()*blockPos
	k, v := make([]int8, n*nk), make([]int8, n*nv)
	scales := make([]float32, 2*n*ns)
	pages := make([]PageQS8, n)
	for i := range pages {
		pages[i] = PageQS8{
			k: k[i*nk:][:nk:nk], v: v[i*nv:][:nv:nv],
			kScale: scales[2*i*ns:][:ns:ns], vScale: scales[(2*i+1)*ns:][:ns:ns],
		}
	}
	return pages
}

// Bytes returns the memory of the page.
func (p *PageQS8) Bytes() int { return len(p.k) + len(p.v) + 4*(len(p.kScale)+len(p.vScale)) }

// BytesQS8 returns what Bytes of a page of this shape would be.
func (s *Shape) BytesQS8() int {
	return s.KVHeads * s.blocks() * (s.kBlock() + s.vBlock() + 2*4*blockPos)
}

// CopyFrom makes p a copy of q, which has the same shape.
func (p *PageQS8) CopyFrom(q *PageQS8) {
	copy(p.k, q.k)
	copy(p.v, q.v)
	copy(p.kScale, q.kScale)
	copy(p.vScale, q.vScale)
}

// ScratchQS8 holds the intermediate results of one AttendQS8 at a time.
type ScratchQS8 struct {
	q8      []int8 // [D padded to whole groups]
	row     []int8 // [D]
	scores  []int32
	part    []int32 // scores of one page
	weights []int16 // of one page
	acc     []int32 // [D padded to 16]

	kernel  attendQS8 // for a kernel that does all heads at once, with what it points to
	queries []int8
	places  []headPlace
	states  []headState
	records []byte
	shape   Shape // that these are for
}

// NewScratchQS8 returns scratch for positions below maxPos; it grows when a position lies beyond. Shapes that share it differ in
// Heads, KVHeads, Window and Scale only.
func NewScratchQS8(s *Shape, maxPos int) *ScratchQS8 {
	return &ScratchQS8{
		q8: make([]int8, s.groups()*groupDims), row: make([]int8, s.HeadDim),
		scores: make([]int32, wholeBlocks(maxPos)), part: make([]int32, s.blocks()*blockPos), weights: make([]int16, s.blocks()*blockPos),
		acc: make([]int32, s.padDim()),
	}
}

func wholeBlocks(positions int) int { return (positions + blockPos - 1) &^ (blockPos - 1) }

// grow makes room for a position.
func (sc *ScratchQS8) grow(pos int) {
	sc.scores = make([]int32, wholeBlocks(max(pos+1, 2*len(sc.scores))))
	sc.places, sc.shape = nil, Shape{} // what is for all heads is made again
}

// whole makes room for a kernel that does all heads of s at once. The layers of a pruned model take turns with different
// numbers of heads, so memory is kept for the most there were.
func (sc *ScratchQS8) whole(s *Shape) {
	if s.Heads > len(sc.places) {
		sc.queries = make([]int8, s.Heads*s.HeadDim)
		sc.states = make([]headState, s.Heads)
		sc.places = make([]headPlace, s.Heads)
		sc.records = make([]byte, s.Heads*len(sc.scores)/blockPos*recordBytes+lineBytes)
		off := -int(uintptr(unsafe.Pointer(&sc.records[0]))) & (lineBytes - 1)
		sc.records = sc.records[off:]
	}
	for h := range s.Heads {
		g := h * s.KVHeads / s.Heads
		sc.places[h] = headPlace{g * s.blocks() * s.kBlock(), g * s.blocks() * s.vBlock(), g * s.blocks() * blockPos * 4}
	}
	sc.kernel = attendQS8{
		places: &sc.places[0], pageBlocks: s.blocks(), heads: s.Heads, groups: s.groups(), dim: s.HeadDim, padDim: s.padDim(),
		factor: s.factor(), q8: &sc.queries[0], state: &sc.states[0], records: &sc.records[0],
		recordStep: len(sc.scores) / blockPos * recordBytes,
	}
	sc.shape = *s
}

// StoreQS8 quantises the key and the value of one token, each head by vec.QuantizeRow, into a slot of a page.
//
// Two goroutines must not store into slots 2j and 2j+1 of a page at once: their values lie in the same 32-bit lanes, byte by byte in
// turns, and a kernel may read, change and write back whole lanes.
//
//	k, v [G,D] f32
func (s *Shape) StoreQS8(p *PageQS8, slot int, k, v []float32, sc *ScratchQS8) {
	d := s.HeadDim
	blk, in := slot/blockPos, slot%blockPos
	if store := kernels.Funcs().store; store != nil && d%8 == 0 {
		k, v = k[:s.KVHeads*d], v[:s.KVHeads*d]
		if store(&k[0], &v[0], &p.k[blk*s.kBlock()+in*groupDims], &p.v[blk*s.vBlock()+in/2*2*s.padDim()], &p.kScale[slot], &p.vScale[slot],
			s.KVHeads, d, s.blocks()*s.kBlock(), s.blocks()*s.vBlock(), s.blocks()*blockPos*4, in%2) {
			return
		}
	}
	for g := range s.KVHeads {
		at := (g*s.blocks())*blockPos + slot
		p.kScale[at] = vec.QuantizeRow(sc.row, k[g*d:][:d])
		kb := p.k[(g*s.blocks()+blk)*s.kBlock():][:s.kBlock()]
		for i, q := range sc.row {
			kb[(i/groupDims*blockPos+in)*groupDims+i%groupDims] = q
		}
		p.vScale[at] = vec.QuantizeRow(sc.row, v[g*d:][:d])
		vb := p.v[(g*s.blocks()+blk)*s.vBlock()+in/2*2*s.padDim()+in%2:]
		for i, q := range sc.row {
			vb[2*i] = q
		}
	}
}

// AttendQS8 computes attention of one position over the INT8 cache, all heads (h reads the keys of head g = h·G/H). Scores and
// weights are integers:
//
//	q8, qs = quantised q of head h;  c = float32(qs·float32(Scale·2048·log2 e));  N = pos+1-t0
//	y[t] = int(float32(Σ_d q8[d]·k8[t,d]) · float32(ks[t]·c))       t0 ≤ t ≤ pos, t0 the first position in the window
//	e[t] = Pow2(max y - y[t]);  Z = Σ e[t]
//	m = max vs[t] = f·2^x, 1 ≤ f < 2;  s = the least with N ≤ 2^(9+s)
//	w[t] = (e[t]·int(vs[t]·2^(14-s-x)) + 2^14) >> 15
//	out[d] = float32(Σ_t w[t]·v8[t,d]) · float32(2^(1+s+x)/float32(Z))
//
// All sums are exact. If all vs are 0, out is 0; otherwise, if a scale is not finite, m is 2^100 or more or a score 2^29 or more,
// out is NaN. Position t is slot t%PageSize of pages[table[t/PageSize]].
//
//	out, q [H,D] f32
func (s *Shape) AttendQS8(out, q []float32, pages []PageQS8, table []int32, pos int, sc *ScratchQS8) {
	first := 0
	if s.Window > 0 {
		first = max(0, pos-s.Window+1)
	}
	if pos >= len(sc.scores) {
		sc.grow(pos)
	}
	if attend := kernels.Funcs().attend; attend != nil && s.HeadDim%8 == 0 && s.PageSize%blockPos == 0 && pos-first < maxWhole {
		if s.attendWhole(attend, out, q, pages, table, first, pos, sc) {
			return
		}
	}
	for g := range s.KVHeads {
		s.attendGroup(out, q, pages, table, g, first, pos, sc)
	}
}

func (s *Shape) attendWhole(kernel func(*attendQS8) bool, out, q []float32, pages []PageQS8, table []int32, first, pos int, sc *ScratchQS8) bool {
	if sc.shape != *s {
		sc.whole(s)
	}
	block, inPage := first/blockPos, s.PageSize/blockPos
	table = table[:pos/s.PageSize+1]
	out, q = out[:s.Heads*s.HeadDim], q[:s.Heads*s.HeadDim]
	a := &sc.kernel
	a.q, a.out, a.pages, a.table = &q[0], &out[0], &pages[0], &table[block/inPage]
	a.first, a.last, a.blocks, a.fromBlock = first, pos, pos/blockPos-block+1, block%inPage
	a.shift = valueShift(pos + 1 - first)
	ok := kernel(a)
	a.q, a.out, a.pages, a.table = nil, nil, nil, nil
	return ok
}

// factor turns the scores of quantised keys and queries into units of 2^-11 octaves.
func (s *Shape) factor() float32 { return float32(s.Scale * octaves) }

// valueShift is how many bits the weights of n positions lose for their products with values to add up within 32 bits.
func valueShift(n int) int32 { return max(0, int32(bits.Len(uint(n-1)))-9) }

// units returns the factor that makes value scales up to m integers below 2^(15-shift), and 2^15 over it.
func units(m float32, shift int32) (unit, grain float32) {
	b := int32(math.Float32bits(m) >> 23)
	return math.Float32frombits(uint32(268-shift-b) << 23), math.Float32frombits(uint32(b+1+shift) << 23)
}

// attendGroup computes the query heads of key/value head g.
func (s *Shape) attendGroup(out, q []float32, pages []PageQS8, table []int32, g, first, pos int, sc *ScratchQS8) {
	d := s.HeadDim
	per := s.Heads / s.KVHeads
	m := s.maxVScale(pages, table, g, first, pos)
	for h := g * per; h < (g+1)*per; h++ {
		o := out[h*d:][:d]
		if m == 0 {
			clear(o)
			continue
		}
		if !(m < maxValueScale) || !s.scores(q[h*d:][:d], pages, table, g, first, pos, sc) {
			vec.Fill(o, float32(math.NaN()))
			continue
		}
		unit, grain := units(m, valueShift(pos+1-first))
		grain /= float32(s.weigh(pages, table, g, first, pos, unit, sc))
		for i, a := range sc.acc[:d] {
			o[i] = float32(a) * grain
		}
	}
}

// maxVScale returns the largest value scale of first ≤ t ≤ pos, NaN if one is NaN.
func (s *Shape) maxVScale(pages []PageQS8, table []int32, g, first, pos int) float32 {
	var m float32
	for t := first; t <= pos; {
		slot := t % s.PageSize
		n := min(s.PageSize-slot, pos+1-t)
		a := vec.AbsMax(pages[table[t/s.PageSize]].vScale[g*s.blocks()*blockPos+slot:][:n])
		if !(a <= m) {
			m = a
		}
		if a != a {
			return a
		}
		t += n
	}
	return m
}

// scores sets sc.scores[t] for first ≤ t ≤ pos and reports whether all are in range.
func (s *Shape) scores(q []float32, pages []PageQS8, table []int32, g, first, pos int, sc *ScratchQS8) bool {
	c := float32(vec.QuantizeRow(sc.q8[:s.HeadDim], q) * s.factor())
	kernel := kernels.Funcs().scores
	for t := first; t <= pos; {
		page, slot := &pages[table[t/s.PageSize]], t%s.PageSize
		n := min(s.PageSize-slot, pos+1-t)
		blk := slot / blockPos
		blocks := (slot+n+blockPos-1)/blockPos - blk
		k := page.k[(g*s.blocks()+blk)*s.kBlock():]
		ks := page.kScale[(g*s.blocks()+blk)*blockPos:]
		if slot%blockPos == 0 && t%blockPos == 0 {
			kernel(sc.scores[t:], k, ks, sc.q8, c, blocks)
		} else {
			// A page size that is no multiple of 16 puts its blocks anywhere: go by way of a buffer.
			kernel(sc.part, k, ks, sc.q8, c, blocks)
			copy(sc.scores[t:t+n], sc.part[slot%blockPos:])
		}
		t += n
	}
	return slices.Min(sc.scores[first:pos+1]) != beyond
}

// weigh sums the values by their weights into sc.acc and returns Z.
func (s *Shape) weigh(pages []PageQS8, table []int32, g, first, pos int, unit float32, sc *ScratchQS8) (z int64) {
	clear(sc.acc)
	kernel := kernels.Funcs()
	best := slices.Max(sc.scores[first : pos+1])
	for t := first; t <= pos; {
		page, slot := &pages[table[t/s.PageSize]], t%s.PageSize
		n := min(s.PageSize-slot, pos+1-t)
		blk, in := slot/blockPos, slot%blockPos
		blocks := (slot+n+blockPos-1)/blockPos - blk
		w := sc.weights[:blocks*blockPos]
		clear(w[:in])
		clear(w[in+n:])
		z += kernel.weights(w[in:in+n], sc.scores[t:], best, page.vScale[(g*s.blocks()+blk)*blockPos+in:], unit)
		kernel.weigh(sc.acc, w, page.v[(g*s.blocks()+blk)*s.vBlock():], blocks)
		t += n
	}
	return z
}
