package attn

import (
	"mito/kernels/gemm"
	"mito/kernels/parallel"
)

// workspace is what one thread needs.
type workspace struct {
	mul  *gemm.Scratch
	rows *rowFuncs

	sequence       int         // of the batch
	base           int         // the position of the first packed key
	kT, v          gemm.Panels // keys [D,n] and values [n,D] of Forward
	vT, k, q, dout gemm.Panels // Backward: values [D,n], keys [n,D], a block of queries and output gradients [rows,D]

	// Rows of scores and of their gradients, keyBlock apart.
	s, ds           [queryBlock * keyBlock]float32
	top, sum, delta [queryBlock]float32
	started         [queryBlock]bool

	// Results are built here, in rows of pad elements, the columns that the kernels write: D rounded up.
	pad         int
	out, dk, dv []float32

	tileRows, tileCols int
}

// fit sizes the results: rows of out and keys of dk and dv, which are cleared.
func (w *workspace) fit(pad, keys int) {
	w.pad = pad
	w.out = sized(w.out, queryBlock*pad)
	w.dk, w.dv = sized(w.dk, keys*pad), sized(w.dv, keys*pad)
	clear(w.dk)
	clear(w.dv)
}

func sized(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// keyTile is a block of scores: query rows i0 <= i < i1, keys j0 <= j < j0+width.
type keyTile struct{ i0, i1, j0, width int }

// seen returns the columns of the tile that row r of sequence b sees.
func (k keyTile) seen(s *Shape, b, r int) (lo, hi int) {
	i := k.i0 + r
	return max(s.first(b, i)-k.j0, 0), min(i+1-k.j0, k.width)
}

// keyTiles calls f for the key tiles that rows i0 <= i < i1 see.
func (w *workspace) keyTiles(s *Shape, i0, i1 int, f func(keyTile)) {
	w.tileRows, w.tileCols = w.kT.Tile()
	for j := s.first(w.sequence, i0) &^ (keyAlign - 1); j < i1; j += keyBlock {
		f(keyTile{i0, i1, j, min(keyBlock, i1-j)})
	}
}

// rowTiles calls f for the rows r..r+n of the tile and the columns c0..c1 that any of them sees. c0 is at the beginning
// of a panel.
func (w *workspace) rowTiles(s *Shape, t keyTile, f func(r, n, c0, c1 int)) {
	for r := 0; r < t.i1-t.i0; r += w.tileRows {
		n := min(w.tileRows, t.i1-t.i0-r)
		lo, _ := t.seen(s, w.sequence, r)
		_, hi := t.seen(s, w.sequence, r+n-1)
		if lo < hi {
			f(r, n, lo/w.tileCols*w.tileCols, hi)
		}
	}
}

// scores computes dst = A · B for the part of the tile that is seen: A is [rows,D], B is [D,n] packed.
func (w *workspace) scores(s *Shape, t keyTile, b *gemm.Panels, a gemm.Strided, dst []float32) {
	k0 := t.j0 - w.base
	w.rowTiles(s, t, func(r, n, c0, c1 int) {
		rows := gemm.Strided{Data: a.Data[r*a.Row:], Row: a.Row, Col: 1}
		end := min((k0+c1+w.tileCols-1)/w.tileCols*w.tileCols, b.Padded())
		b.Mul(w.mul, dst[r*keyBlock+c0:], keyBlock, rows, n, 0, s.HeadDim, k0+c0, end, false)
	})
}

var (
	workspaces = parallel.FreeList[workspace]{
		Fresh: func() *workspace { return &workspace{mul: gemm.NewScratch()} },
	}
	forwardTasks = parallel.FreeList[forwardTask]{
		Fresh: func() *forwardTask { return new(forwardTask) },
		Wipe:  func(t *forwardTask) { *t = forwardTask{} },
	}
	backwardTasks = parallel.FreeList[backwardTask]{
		Fresh: func() *backwardTask { return new(backwardTask) },
		Wipe:  func(t *backwardTask) { *t = backwardTask{} },
	}
)
