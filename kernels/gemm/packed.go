package gemm

import (
	"fmt"
	"unsafe"

	"mito/kernels/parallel"
)

const (
	panelCols = 32 // columns of a panel, the same in every variant
	smallRows = 8  // rows that a small kernel computes at most

	// Threads take this many panels at a time, as many as one kernel computes at most.
	smallGrain = 4
)

// Packed is a weight matrix W [N,K], laid out once for products with few rows, as decoding makes them. Its results
// have the bits of [Gemm] with TransB in the same variant.
type Packed struct {
	n, k int
	w    []float32 // panels [ceil(N/32)][K][32], zeros beyond N
}

// Pack lays out w [n,k], row-major as linear layers store it. It panics when w is too short.
func Pack(w []float32, n, k int) *Packed {
	checkMatrix("weights", w, n, k, k, false)
	panels := (n + panelCols - 1) / panelCols
	p := &Packed{n: n, k: k, w: alignedFloats(max(panels*k*panelCols, 1))}
	for r := 0; r < n && k > 0; r++ {
		dst := p.w[r/panelCols*k*panelCols+r%panelCols:]
		for i, v := range w[r*k : (r+1)*k] {
			dst[i*panelCols] = v
		}
	}
	return p
}

// Shape returns the rows N and columns K of W.
func (p *Packed) Shape() (n, k int) { return p.n, p.k }

// Bytes returns the size of the packed weights.
func (p *Packed) Bytes() int { return 4 * len(p.w) }

// MulVec computes y [N] = W · x [K]. See [Packed.MulRows].
func (p *Packed) MulVec(y, x []float32, pool *parallel.Pool) { p.MulRows(y, x, 1, pool) }

// MulRows computes y [rows,N] = x [rows,K] · Wᵀ. It is made for 1 to 8 rows and allocates nothing in steady state. It
// panics when a slice is too short.
func (p *Packed) MulRows(y, x []float32, rows int, pool *parallel.Pool) {
	if rows < 0 || len(y) < rows*p.n || len(x) < rows*p.k {
		panic(fmt.Sprintf("gemm: %d rows of [%d,%d]: y has %d elements, x has %d", rows, p.n, p.k, len(y), len(x)))
	}
	if rows == 0 || p.n == 0 {
		return
	}
	if p.k == 0 {
		clear(y[:rows*p.n])
		return
	}
	if rows*p.n*p.k < parallelWork {
		pool = nil
	}
	t := smallTasks.Get()
	defer smallTasks.Put(t)
	t.p, t.y, t.x, t.rows, t.f = p, y, x, rows, dispatch.Funcs()
	pool.Run((p.n+panelCols-1)/panelCols, smallGrain, t)
}

// smallTask computes panels of y.
type smallTask struct {
	p    *Packed
	f    *funcs
	y, x []float32
	rows int
}

var smallTasks = parallel.FreeList[smallTask]{
	Fresh: func() *smallTask { return new(smallTask) },
	Wipe:  func(t *smallTask) { *t = smallTask{} },
}

func (t *smallTask) Do(lo, hi int) {
	s := scratches.Get()
	defer scratches.Put(s)
	n, k := t.p.n, t.p.k
	s.t.k = k
	s.t.ars, s.t.aks = 4*k, 4
	s.t.bks, s.t.bps = 4*panelCols, 4*panelCols*k
	for row := 0; row < t.rows; row += smallRows {
		r := min(smallRows, t.rows-row)
		s.t.a = elem(t.x, row*k)
		for p := lo; p < hi; {
			s.t.b = elem(t.p.w, p*panelCols*k)
			s.t.src, s.t.srs = elem(smallZeros[:], 0), 0
			panels := 0
			for _, small := range t.f.small[r] {
				if last := p + small.panels; last <= hi && last*panelCols <= n {
					s.t.c, s.t.crs = elem(t.y, row*n+p*panelCols), 4*n
					small.kernel(&s.t)
					panels = small.panels
					break
				}
			}
			if panels == 0 {
				t.panel(s, row, r, p)
				panels = 1
			}
			p += panels
		}
	}
}

// panel computes one panel with the full kernels, beside y when it reaches beyond N.
func (t *smallTask) panel(s *scratch, row, r, p int) {
	n, k := t.p.n, t.p.k
	width := min(panelCols, n-p*panelCols)
	base := s.t.a
	for i := 0; i < r; {
		q := rowsAtOnce(&t.f.full, r-i)
		y := t.y[(row+i)*n+p*panelCols:]
		s.t.a = unsafe.Add(base, 4*i*k)
		dst, stride := y, n
		if width < panelCols {
			dst, stride = s.edge[:], panelCols
		}
		s.t.crs = 4 * stride
		for j := 0; j < panelCols; j += t.f.nr {
			s.t.b = elem(t.p.w, p*panelCols*k+j)
			s.t.c = elem(dst, j)
			t.f.full[q](&s.t)
		}
		for e := 0; e < q && width < panelCols; e++ {
			copy(y[e*n:][:width], s.edge[e*panelCols:])
		}
		i += q
	}
	s.t.a = base
}

// smallZeros is where the chains of the widest small kernel start.
var smallZeros [smallGrain * panelCols]float32
