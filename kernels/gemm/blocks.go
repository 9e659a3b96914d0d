package gemm

import (
	"unsafe"

	"mito/kernels/blocks"
	"mito/kernels/parallel"
)

// Products with a weight of which whole blocks are zero leave those out. Every chain has the steps that are left in their
// order, and a step with a factor of zero changes no finite chain, so the bits are those of the dense product (but for the
// sign of a sum that underflows to zero, and for factors that are not finite).

const (
	blockRowsNT = 24 // rows of A that blockFuncs.nt works on
	blockRowsNN = 12 // and blockFuncs.nn

	// gradRows of A and B are packed at a time, few enough for the second-level cache.
	gradRows = 128

	// mostLive is the share of live blocks up to which leaving out the others pays.
	mostLive = 0.6
)

// blockTile is the argument of a kernel over the live blocks of a row or a column of blocks. Strides are in bytes. The assembly
// knows the offsets of the fields.
type blockTile struct {
	n   int            //  0
	at  unsafe.Pointer //  8: *int32, the numbers of the blocks
	w   unsafe.Pointer // 16: the weight
	ws  int            // 24: from one row of it to the next
	x   unsafe.Pointer // 32
	xs  int            // 40
	src unsafe.Pointer // 48: where the chains start
	srs int            // 56
	c   unsafe.Pointer // 64: where they end
	crs int            // 72
}

// gradTile is the argument of a kernel over blocks of a block row of C, whose chains run over n rows of y and x, eight floats each.
type gradTile struct {
	n   int               //  0
	y   unsafe.Pointer    //  8
	x   [3]unsafe.Pointer // 16
	src [3]unsafe.Pointer // 40
	srs int               // 64
	c   [3]unsafe.Pointer // 72
	crs int               // 96
}

// blockFuncs are the kernels of a variant.
type blockFuncs struct {
	// nt computes four outputs of blockRowsNT rows; x lies transposed:
	//
	//	for i, r < 4 { s := src[r]; for b in at, j < 8 { s = fma(w[r,8b+j], x[8b+j,i], s) }; c[i,r] = s }
	nt func(t *blockTile)
	// nn computes eight columns of blockRowsNN rows:
	//
	//	for i, j < 8 { s := src[i,j]; for b in at, r < 4 { s = fma(x[i,4b+r], w[4b+r,j], s) }; c[i,j] = s }
	nn func(t *blockTile)
	// tn[m] computes m blocks:
	//
	//	for b < m, r < 4, j < 8 { s := src[b][r,j]; for i < n { s = fma(y[i,r], x[b][i,j], s) }; c[b][r,j] = s }
	tn [4]func(t *gradTile)
}

// blockProduct computes a product that leaves blocks out, where the variant can and where that pays, and says whether it did.
func blockProduct(a *Args, f *funcs, p *parallel.Pool) bool {
	if f.blocks == nil || a.Alpha != 0 && a.Alpha != 1 || a.K == 0 {
		return false
	}
	var kind blockKind
	switch {
	case a.Live != nil && !a.TransA && a.TransB && !a.Accumulate && a.M >= blockRowsNT && a.Live.Live() <= mostLive:
		kind = blocksNT
	case a.Live != nil && !a.TransA && !a.TransB && a.Bias == nil && a.M >= blockRowsNN && a.Live.Live() <= mostLive:
		kind = blocksNN
	case a.Wanted != nil && a.TransA && !a.TransB && a.Bias == nil && a.Wanted.Live() <= mostLive:
		kind = blocksTN
	default:
		return false
	}
	if a.M*a.N <= parallelWork/a.K {
		p = nil
	}
	t := blockTasks.Get()
	defer blockTasks.Put(t)
	t.args, t.f, t.kind = a, f, kind
	switch kind {
	case blocksNT:
		p.Run((a.M+blockRowsNT-1)/blockRowsNT, 1, t)
	case blocksNN:
		p.Run((a.M+blockRowsNN-1)/blockRowsNN, 1, t)
	default:
		// Each item packs what it reads, so there are no more of them than threads.
		t.parts = min(p.Threads(), a.M/blocks.Rows)
		p.Run(t.parts, 1, t)
	}
	return true
}

type blockKind int

const (
	blocksNT blockKind = iota
	blocksNN
	blocksTN
)

// blockTask computes items of a product: tiles of rows, or for a gradient shares of the block rows.
type blockTask struct {
	args  *Args
	f     *funcs
	kind  blockKind
	parts int
}

var (
	blockTasks = parallel.FreeList[blockTask]{
		Fresh: func() *blockTask { return new(blockTask) },
		Wipe:  func(t *blockTask) { *t = blockTask{} },
	}
	blockScratches = parallel.FreeList[blockScratch]{
		Fresh: func() *blockScratch { return new(blockScratch) },
		Wipe:  func(s *blockScratch) { s.t, s.g = blockTile{}, gradTile{} },
	}
)

// blockScratch is what one thread needs.
type blockScratch struct {
	t     blockTile
	g     gradTile
	panel []float32 // of A, packed
	other []float32 // of B
	edge  [blockRowsNT * blocks.Cols]float32
}

func (t *blockTask) Do(lo, hi int) {
	s := blockScratches.Get()
	defer blockScratches.Put(s)
	for i := lo; i < hi; i++ {
		switch t.kind {
		case blocksNT:
			t.forward(s, i*blockRowsNT)
		case blocksNN:
			t.back(s, i*blockRowsNN)
		default:
			t.gradient(s, i)
		}
	}
}

// room makes *s n floats long.
func room(s *[]float32, n int) []float32 {
	if len(*s) < n {
		*s = alignedFloats(n)
	}
	return (*s)[:n]
}

// forward computes the rows from i on of C = A·Bᵀ: A is packed transposed, so that its rows lie side by side.
func (t *blockTask) forward(s *blockScratch, i int) {
	a := t.args
	rows := min(blockRowsNT, a.M-i)
	x := room(&s.panel, a.K*blockRowsNT)
	if rows == blockRowsNT {
		t.f.packCols(&x[0], &a.A[i*a.LDA], a.K, blockRowsNT, a.LDA)
	} else {
		clear(x)
		for r := range rows {
			for k, v := range a.A[(i+r)*a.LDA:][:a.K] {
				x[k*blockRowsNT+r] = v
			}
		}
	}
	s.t.x, s.t.ws = elem(x, 0), 4*a.LDB
	s.t.src = elem(zeros[:], 0)
	for r := range a.N / blocks.Rows {
		s.t.list(a.Live.InRow(r))
		s.t.w = elem(a.B, r*blocks.Rows*a.LDB)
		if a.Bias != nil {
			s.t.src = elem(a.Bias, r*blocks.Rows)
		}
		s.t.c, s.t.crs = elem(a.C, i*a.LDC+r*blocks.Rows), 4*a.LDC
		if rows < blockRowsNT {
			s.t.c, s.t.crs = elem(s.edge[:], 0), 4*blocks.Rows
		}
		t.f.blocks.nt(&s.t)
		for e := 0; e < rows && rows < blockRowsNT; e++ {
			copy(a.C[(i+e)*a.LDC+r*blocks.Rows:][:blocks.Rows], s.edge[e*blocks.Rows:])
		}
	}
}

// list gives the tile its blocks.
func (t *blockTile) list(at []int32) {
	t.n, t.at = len(at), nil
	if len(at) > 0 {
		t.at = unsafe.Pointer(&at[0])
	}
}

// back computes the rows from i on of C = A·B or C += A·B.
func (t *blockTask) back(s *blockScratch, i int) {
	a := t.args
	rows := min(blockRowsNN, a.M-i)
	s.t.x, s.t.xs, s.t.ws = elem(a.A, i*a.LDA), 4*a.LDA, 4*a.LDB
	if rows < blockRowsNN {
		x := room(&s.panel, blockRowsNN*a.K)
		clear(x[rows*a.K:])
		for r := range rows {
			copy(x[r*a.K:][:a.K], a.A[(i+r)*a.LDA:])
		}
		s.t.x, s.t.xs = elem(x, 0), 4*a.K
	}
	for col := range a.N / blocks.Cols {
		s.t.list(a.Live.InColumn(col))
		at := i*a.LDC + col*blocks.Cols
		s.t.w = elem(a.B, col*blocks.Cols)
		s.t.c, s.t.crs = elem(a.C, at), 4*a.LDC
		if rows < blockRowsNN {
			s.t.c, s.t.crs = elem(s.edge[:], 0), 4*blocks.Cols
			for r := 0; r < rows && a.Accumulate; r++ {
				copy(s.edge[r*blocks.Cols:][:blocks.Cols], a.C[at+r*a.LDC:])
			}
		}
		s.t.src, s.t.srs = elem(zeros[:], 0), 0
		if a.Accumulate {
			s.t.src, s.t.srs = s.t.c, s.t.crs
		}
		t.f.blocks.nn(&s.t)
		for r := 0; r < rows && rows < blockRowsNN; r++ {
			copy(a.C[at+r*a.LDC:][:blocks.Cols], s.edge[r*blocks.Cols:])
		}
	}
}

// gradient computes a share of the block rows of C = Aᵀ·B or C += Aᵀ·B, A and B stored with K rows. Some rows at a time are packed
// in panels of eight columns.
func (t *blockTask) gradient(s *blockScratch, part int) {
	a := t.args
	first, last := t.share(part), t.share(part+1)
	if first == last {
		return
	}
	const width = blocks.Cols
	// Panels of A hold two block rows each, so they begin at an even one.
	from := first &^ 1 * blocks.Rows
	to := min(last*blocks.Rows, a.M)
	ys, xs := room(&s.panel, (to-from+width-1)/width*width*gradRows), room(&s.other, a.N*gradRows)
	s.g.crs = 4 * a.LDC
	for k0 := 0; k0 < a.K; k0 += gradRows {
		n := min(gradRows, a.K-k0)
		for j := from; j < to; j += width {
			t.panel(ys[(j-from)*n:], a.A[k0*a.LDA+j:], n, min(width, to-j), a.LDA)
		}
		for j := 0; j < a.N; j += width {
			t.panel(xs[j*n:], a.B[k0*a.LDB+j:], n, width, a.LDB)
		}
		s.g.n = n
		for r := first; r < last; r++ {
			row := r*blocks.Rows - from
			s.g.y = elem(ys, row/width*width*n+row%width)
			for list := a.Wanted.InRow(r); len(list) > 0; {
				m := min(len(list), len(s.g.x))
				for b, col := range list[:m] {
					s.g.x[b] = elem(xs, int(col)*width*n)
					s.g.c[b] = elem(a.C, r*blocks.Rows*a.LDC+int(col)*width)
					s.g.src[b] = elem(zeros[:], 0)
				}
				s.g.srs = 0
				if a.Accumulate || k0 > 0 {
					s.g.src, s.g.srs = s.g.c, s.g.crs
				}
				t.f.blocks.tn[m](&s.g)
				list = list[m:]
			}
		}
	}
}

// panel packs n rows of so many columns as rows of eight.
func (t *blockTask) panel(dst, src []float32, n, cols, ld int) {
	if cols == blocks.Cols {
		t.f.packRows(&dst[0], &src[0], n, cols, ld)
		return
	}
	for i := range n {
		copy(dst[i*blocks.Cols:][:cols], src[i*ld:])
	}
}

// share is the first block row of a part of C. All parts have about as many blocks.
func (t *blockTask) share(part int) int {
	x := t.args.Wanted
	rows := len(x.RowStart) - 1
	if part >= t.parts {
		return rows
	}
	want := int32(part * len(x.Columns) / t.parts)
	r := 0
	for r < rows && x.RowStart[r] < want {
		r++
	}
	return r
}
