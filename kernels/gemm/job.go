package gemm

import (
	"sync"
	"unsafe"

	"mito/kernels/parallel"
)

const (
	// A block of K is long enough to make loading and storing C cheap, and short enough for a strip of A
	// (maxMR x KC, 24 KB at most) to stay in the first-level cache.
	blockK = 512
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
	kc := evenBlocks(a.K, blockK, 8)
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
			j.multiply = multiplyTask{j, b, colGroups(a.M, panels, j.f.mr, p.Threads())}
			tiles := (a.M + j.f.mr - 1) / j.f.mr
			p.Run(tiles*j.multiply.groups, 1, &j.multiply)
		}
	}
}

// colGroups returns into how many groups the panels are cut, so that a flat C has work for every thread.
func colGroups(m, panels, mr, threads int) int {
	tiles := (m + mr - 1) / mr
	if threads == 1 || tiles >= 4*threads {
		return 1
	}
	return min(panels, (4*threads+tiles-1)/tiles)
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
	}
}

// multiplyTask computes tiles of C: item i is rows i/groups*MR of the panels of group i%groups.
type multiplyTask struct {
	*job
	block
	groups int
}

func (t *multiplyTask) Do(lo, hi int) {
	s := scratches.get()
	defer scratches.put(s)
	mr := t.f.mr
	panels := (t.n + t.f.nr - 1) / t.f.nr
	for item := lo; item < hi; item++ {
		row, group := item/t.groups, item%t.groups
		first, last := group*panels/t.groups, (group+1)*panels/t.groups
		t.rows(s, row*mr, min(mr, t.args.M-row*mr), first, last)
	}
}

// rows computes m <= MR rows from row i, over the panels first <= p < last.
func (t *multiplyTask) rows(s *scratch, i, m, first, last int) {
	for m > 0 {
		r := rowsAtOnce(&t.f.full, m)
		t.tileA(s, i, r)
		for p := first; p < last; p++ {
			t.tile(s, i, r, p)
		}
		i, m = i+r, m-r
	}
}

// tileA points the tile at rows i..i+r of A. Stored row-major they are read in place; stored transposed the strip is
// packed, since its rows lie LDA apart and would fight for a few cache sets.
func (t *multiplyTask) tileA(s *scratch, i, r int) {
	a := t.args
	s.t.k = t.k
	if !a.TransA {
		s.t.a, s.t.ars, s.t.aks = elem(a.A, i*a.LDA+t.k0), 4*a.LDA, 4
		return
	}
	t.f.packStrip(&s.strip[0], &a.A[t.k0*a.LDA+i], t.k, r, a.LDA)
	s.t.a, s.t.ars, s.t.aks = elem(s.strip, 0), 4, 4*stripA
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
	src, srs, c, crs := s.t.src, s.t.srs, s.t.c, s.t.crs
	for q := range r {
		copy(s.edge[q*width:q*width+n], unsafe.Slice(at(src, q*srs), n))
	}
	s.t.src, s.t.srs = elem(s.edge[:], 0), 4*width
	s.t.c, s.t.crs = s.t.src, 4*width
	kernel(&s.t)
	for q := range r {
		copy(unsafe.Slice(at(c, q*crs), n), s.edge[q*width:q*width+n])
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
	t     tile
	strip []float32
	edge  [maxMR * maxNR]float32
}

// freeList keeps objects for reuse. Unlike sync.Pool it does not lose them at a collection: steady state allocates
// nothing.
type freeList[T any] struct {
	mu    sync.Mutex
	free  []*T
	fresh func() *T
	wipe  func(*T) // drops references to the caller's memory
}

func (l *freeList[T]) get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		return l.fresh()
	}
	x := l.free[n-1]
	l.free = l.free[:n-1]
	return x
}

func (l *freeList[T]) put(x *T) {
	l.wipe(x)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, x)
}

var (
	jobs = freeList[job]{
		fresh: func() *job { return new(job) },
		wipe:  func(j *job) { *j = job{packed: j.packed} },
	}
	scratches = freeList[scratch]{
		fresh: func() *scratch { return &scratch{strip: alignedFloats(blockK * stripA)} },
		wipe:  func(s *scratch) { s.t = tile{} },
	}
)

// alignedFloats returns n floats that begin at a cache line.
func alignedFloats(n int) []float32 {
	s := make([]float32, n+15)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))%64) / 4
	return s[skip : skip+n : skip+n]
}
