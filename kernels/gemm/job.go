package gemm

import (
	"unsafe"

	"mito/kernels/parallel"
)

const (
	// A block of K is long enough to make loading and storing C cheap, and short enough for a strip of A
	// (MR x KC, 24 KB at most) to stay in the first-level cache.
	blockK = 512
	// The strips of a transposed A are packed once for each block of N, so blocks of N are made wider at the cost of K.
	blockKTrans = 256

	// A packed block of B takes no more than this many elements (384 KB), so that it stays in the second-level cache.
	blockB = 96 << 10

	// Below this many multiply-adds waking another thread costs more than it saves.
	parallelWork = 1 << 16
)

// job is the state of one product. Jobs are reused, so that nothing is allocated in steady state.
type job struct {
	args *Args
	f    *funcs

	pack     packTask
	multiply multiplyTask
	thinTask thinTask

	packed []float32 // the block of B: panels [NC/NR][KC][NR]
}

// run splits N and K into blocks. For each, B is packed into panels, then every tile of C is carried on by KC steps.
func (j *job) run(a *Args, p *parallel.Pool) {
	j.args, j.f = a, dispatch.Funcs()
	nr := j.f.nr
	if a.M*a.N <= parallelWork/max(a.K, 1) {
		p = nil
	}
	if a.K == 0 {
		j.fillStart()
		return
	}
	if j.thin(p) {
		return
	}
	limit := blockK
	if a.TransA {
		limit = blockKTrans
	}
	kc := evenBlocks(a.K, limit, 8)
	nc := min(max(blockB/kc/nr, 1)*nr, roundUp(a.N, nr))
	if len(j.packed) < kc*nc {
		j.packed = alignedFloats(kc * nc)
	}
	for j0 := 0; j0 < a.N; j0 += nc {
		for k0 := 0; k0 < a.K; k0 += kc {
			b := block{j0: j0, n: min(nc, a.N-j0), k0: k0, k: min(kc, a.K-k0)}
			panels := (b.n + nr - 1) / nr
			j.pack = packTask{j, b}
			p.Run(panels, 1, &j.pack)
			items := j.cut(b, panels, p.Threads())
			p.Run(items, 1, &j.multiply)
		}
	}
}

// cut divides C into items for the threads and returns their number.
func (j *job) cut(b block, panels, threads int) int {
	m, mr := j.args.M, j.f.mr
	t := multiplyTask{job: j, block: b, itemRows: mr, groups: 1}
	if j.args.TransA {
		t.itemRows = min(roundUp((m+2*threads-1)/(2*threads), mr), stripRows/mr*mr)
	}
	items := (m + t.itemRows - 1) / t.itemRows
	if threads > 1 && items < 2*threads {
		t.groups = min(panels, (2*threads+items-1)/items)
	}
	j.multiply = t
	return items * t.groups
}

// evenBlocks returns a block length of at most limit, a multiple of unit, that cuts n into blocks of like size.
func evenBlocks(n, limit, unit int) int {
	blocks := (n + limit - 1) / limit
	return min(roundUp((n+blocks-1)/blocks, unit), n)
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// block is the part of B in work: rows k0..k0+k, columns j0..j0+n.
type block struct{ j0, n, k0, k int }

// packTask packs panels of the block.
type packTask struct {
	*job
	block
}

func (t *packTask) Do(lo, hi int) {
	a, f := t.args, t.f
	for p := lo; p < hi; p++ {
		j := p * f.nr
		n := min(f.nr, t.n-j)
		src, at := a.B, t.k0*a.LDB+t.j0+j
		if a.TransB {
			at = (t.j0+j)*a.LDB + t.k0
		}
		packPanel(f, t.packed[j*t.k:], src[at:], a.LDB, a.TransB, t.k, n)
		if a.Alpha != 0 && a.Alpha != 1 {
			scale(t.packed[j*t.k:][:t.k*panelWidth(f, n)], a.Alpha)
		}
	}
}

func scale(x []float32, s float32) {
	for i := range x {
		x[i] *= s
	}
}

// multiplyTask computes tiles of C: item i is rows i/groups*itemRows of the panels of group i%groups.
type multiplyTask struct {
	*job
	block
	itemRows, groups int
}

func (t *multiplyTask) Do(lo, hi int) {
	s := scratches.Get()
	defer scratches.Put(s)
	panels := (t.n + t.f.nr - 1) / t.f.nr
	for item := lo; item < hi; item++ {
		i, group := item/t.groups*t.itemRows, item%t.groups
		m := min(t.itemRows, t.args.M-i)
		first, last := group*panels/t.groups, (group+1)*panels/t.groups
		if t.args.TransA {
			t.packStrips(s, i, m)
		}
		for row := 0; row < m; {
			r := rowsAtOnce(&t.f.full, m-row)
			t.tileA(s, i, row, r)
			for p := first; p < last; p++ {
				t.tile(s, i+row, r, p)
			}
			row += r
		}
	}
}

// tileA points the tile at rows i+row..i+row+r of A. Stored row-major they are read in place; stored transposed they
// are in the packed strips.
func (t *multiplyTask) tileA(s *scratch, i, row, r int) {
	a := t.args
	s.t.k = t.k
	if !a.TransA {
		s.t.a, s.t.ars, s.t.aks = elem(a.A, (i+row)*a.LDA+t.k0), 4*a.LDA, 4
		return
	}
	s.t.a, s.t.ars, s.t.aks = elem(s.strips, row/t.f.mr*t.k*t.f.strip), 4, 4*t.f.strip
}

// packStrips packs rows i..i+m of A, stored transposed, as strips [k][strip] of MR rows. In place their elements would
// lie LDA apart and fight for a few cache sets. All strips of a few k are packed before the next, while the cache lines
// that they share are at hand.
func (t *multiplyTask) packStrips(s *scratch, i, m int) {
	const together = 64
	a, f := t.args, t.f
	for k := 0; k < t.k; k += together {
		n := min(together, t.k-k)
		from := (t.k0+k)*a.LDA + i
		for row := 0; row < m; row += f.mr {
			strip := s.strips[(row/f.mr*t.k+k)*f.strip:]
			f.packStrip(&strip[0], &a.A[from+row], n, min(f.mr, m-row), a.LDA)
		}
	}
}

// tile computes r rows from row i of panel p.
func (t *multiplyTask) tile(s *scratch, i, r, p int) {
	a := t.args
	j := p * t.f.nr
	n := min(t.f.nr, t.n-j)
	s.t.b = elem(t.packed, j*t.k)
	s.t.src, s.t.srs = t.start(i, t.j0+j)
	s.t.c, s.t.crs = elem(a.C, i*a.LDC+t.j0+j), 4*a.LDC
	s.panel(t.f, r, n, panelWidth(t.f, n))
}

// panel computes the tile of r rows and n columns of one panel that is packed to width columns. The kernel writes all of
// them: beside C when they are more than n.
func (s *scratch) panel(f *funcs, r, n, width int) {
	kernel := f.full[r]
	if width < f.nr {
		kernel = f.half[r]
	}
	s.t.bks = 4 * width
	if n == width {
		kernel(&s.t)
		return
	}
	c, crs := s.t.c, s.t.crs
	if s.t.srs == 0 { // one row starts them all
		move(s.first[:n], s.t.src)
		s.t.src = elem(s.first[:], 0)
	} else {
		for q := range r {
			move(s.edge[q*width:q*width+n], unsafe.Add(s.t.src, q*s.t.srs))
		}
		s.t.src, s.t.srs = elem(s.edge[:], 0), 4*width
	}
	s.t.c, s.t.crs = elem(s.edge[:], 0), 4*width
	kernel(&s.t)
	for q := range r {
		move(unsafe.Slice(at(c, q*crs), n), elem(s.edge[:], q*width))
	}
}

// move copies few elements; the call that copy makes pays from about eight on.
func move(dst []float32, from unsafe.Pointer) {
	src := unsafe.Slice((*float32)(from), len(dst))
	if len(dst) >= 8 {
		copy(dst, src)
		return
	}
	//lint:ignore S1001 the call is what this avoids
	for j, v := range src {
		dst[j] = v
	}
}

// start returns where the chains of row i and column col of this block begin, and the stride of the rows there.
func (t *multiplyTask) start(i, col int) (unsafe.Pointer, int) {
	a := t.args
	switch {
	case t.k0 > 0 || a.Accumulate:
		return elem(a.C, i*a.LDC+col), 4 * a.LDC
	case a.Bias != nil:
		return elem(a.Bias, col), 0
	}
	return elem(zeros[:], 0), 0
}

// fillStart is the product of nothing: every chain ends where it starts.
func (j *job) fillStart() {
	a := j.args
	if a.Accumulate {
		return
	}
	for i := range a.M {
		c := a.C[i*a.LDC : i*a.LDC+a.N]
		if a.Bias != nil {
			copy(c, a.Bias)
		} else {
			clear(c)
		}
	}
}

var zeros [maxNR]float32

// scratch is what one thread needs while it computes tiles.
type scratch struct {
	t      tile
	strips []float32
	edge   [maxMR * maxNR]float32
	first  [maxNR]float32
}

var (
	jobs = parallel.FreeList[job]{
		Fresh: func() *job { return new(job) },
		Wipe:  func(j *job) { *j = job{packed: j.packed} },
	}
	scratches = parallel.FreeList[scratch]{
		Fresh: func() *scratch { return &scratch{strips: alignedFloats(blockKTrans * stripFloats)} },
		Wipe:  func(s *scratch) { s.t = tile{} },
	}
)

// alignedFloats returns n floats that begin at a cache line.
func alignedFloats(n int) []float32 {
	s := make([]float32, n+15)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))%64) / 4
	return s[skip : skip+n : skip+n]
}
