package gemm

import (
	"fmt"
	"unsafe"

	"mito/kernels/parallel"
)

// PanelCols is the number of columns of a panel of MulPanels, the same in every variant.
const PanelCols = panelCols

// PanelOperand is an operand B [K,N] in panels of PanelCols columns that its owner lays out and may grow: B[k,j] is
// Data[j/PanelCols*Stride + k*PanelCols + j%PanelCols]. A cache of keys is one whose columns are positions, a cache of
// values one whose rows are.
type PanelOperand struct {
	Data   []float32
	Stride int // elements from one panel to the next, at least K*PanelCols
}

// MulPanels computes y [rows, panels·PanelCols] = x [rows,k] · B with the chains of [Gemm]; the rows of x and y lie ldx
// and ldy apart. The last panel is computed whole, so that y needs room for it. It runs on the caller, allocates nothing
// and panics when an operand is too short. s holds on to the operands until its next use.
func MulPanels(s *Scratch, y []float32, ldy int, x []float32, ldx, rows int, b PanelOperand, panels, k int) {
	panelProduct(s, y, ldy, x, ldx, rows, b, panels, k, false)
}

// AddPanels is MulPanels with y += x · B: the chains go on from what y holds.
func AddPanels(s *Scratch, y []float32, ldy int, x []float32, ldx, rows int, b PanelOperand, panels, k int) {
	panelProduct(s, y, ldy, x, ldx, rows, b, panels, k, true)
}

func panelProduct(s *Scratch, y []float32, ldy int, x []float32, ldx, rows int, b PanelOperand, panels, k int, add bool) {
	if rows <= 0 || panels <= 0 {
		return
	}
	if k <= 0 || ldx < k || ldy < panels*panelCols || panels > 1 && b.Stride < k*panelCols ||
		(rows-1)*ldx+k > len(x) || (rows-1)*ldy+panels*panelCols > len(y) || (panels-1)*b.Stride+k*panelCols > len(b.Data) {
		panic(fmt.Sprintf("gemm: y of %d by %d = x [%d,%d] of %d by %d · %d panels of %d by %d",
			len(y), ldy, rows, k, len(x), ldx, panels, len(b.Data), b.Stride))
	}
	t, f := &s.s.t, dispatch.Funcs()
	t.k, t.ars, t.aks, t.bks, t.bps, t.crs = k, 4*ldx, 4, 4*panelCols, 4*b.Stride, 4*ldy
	t.src, t.srs = elem(smallZeros[:], 0), 0
	block, group := panels, smallRows
	if rows > smallRows {
		block, group = max(1, keptElements/(panelCols*k)), largeRows
	}
	for lo := 0; lo < panels; lo += block {
		hi := min(lo+block, panels)
		for i := 0; i < rows; i += group {
			r := min(group, rows-i)
			for p := lo; p < hi; {
				t.a, t.b, t.c = elem(x, i*ldx), elem(b.Data, p*b.Stride), elem(y, i*ldy+p*panelCols)
				if add {
					t.src, t.srs = t.c, t.crs
				}
				p += mulPanel(t, f, r, hi-p)
			}
		}
	}
}

// keptElements of B go over all rows before the next: they stay in the second cache, where a larger B would come from the third
// for every few rows.
const keptElements = 1 << 16

// largeRows go over a panel together where there are many rows: as many as one kernel of AVX-512 takes, or two of AVX2.
const largeRows = 12

// MulPadded computes y = x [rows,K] · Wᵀ as [Packed.MulRows] does. The rows of x and y lie ldx and ldy apart; those of y
// need room for N rounded up to PanelCols. Small products run on the caller with a Scratch of its own, which saves
// looking for one.
func (p *Packed) MulPadded(s *Scratch, y []float32, ldy int, x []float32, ldx, rows int, pool *parallel.Pool) {
	panels := (p.n + panelCols - 1) / panelCols
	if p.k == 0 {
		for i := range rows {
			clear(y[i*ldy:][:panels*panelCols])
		}
		return
	}
	if pool.Threads() == 1 || rows*p.n*p.k < parallelWork {
		MulPanels(s, y, ldy, x, ldx, rows, PanelOperand{p.w, p.k * panelCols}, panels, p.k)
		return
	}
	t := paddedTasks.Get()
	defer paddedTasks.Put(t)
	*t = paddedTask{p: p, y: y, x: x, ldy: ldy, ldx: ldx, rows: rows}
	pool.Run(panels, smallGrain, t)
}

// paddedTask computes panels of y.
type paddedTask struct {
	p              *Packed
	y, x           []float32
	ldy, ldx, rows int
}

var paddedTasks = parallel.FreeList[paddedTask]{
	Fresh: func() *paddedTask { return new(paddedTask) },
	Wipe:  func(t *paddedTask) { *t = paddedTask{} },
}

func (t *paddedTask) Do(lo, hi int) {
	s := scratches.Get()
	defer scratches.Put(s)
	b := PanelOperand{t.p.w[lo*t.p.k*panelCols:], t.p.k * panelCols}
	MulPanels(&Scratch{s}, t.y[lo*panelCols:], t.ldy, t.x, t.ldx, t.rows, b, hi-lo, t.p.k)
}

// mulPanel computes r rows of up to left panels and returns how many.
func mulPanel(t *tile, f *funcs, r, left int) int {
	for i := 0; r <= smallRows && i < len(f.small[r]); i++ {
		if small := &f.small[r][i]; small.panels <= left {
			small.kernel(t)
			return small.panels
		}
	}
	if r == 1 && f.nr == panelCols {
		f.full[1](t)
		return 1
	}
	a, b, c, src := t.a, t.b, t.c, t.src
	for i := 0; i < r; {
		q := rowsAtOnce(&f.full, r-i)
		for j := 0; j < panelCols; j += f.nr {
			t.src = unsafe.Add(src, i*t.srs+4*j)
			t.a, t.b, t.c = unsafe.Add(a, i*t.ars), unsafe.Add(b, 4*j), unsafe.Add(c, i*t.crs+4*j)
			f.full[q](t)
		}
		i += q
	}
	t.src = src
	return 1
}
