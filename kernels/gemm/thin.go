package gemm

import "mito/kernels/parallel"

// A thin product has no more rows than one tile: it uses an element of B once for all of them, and packing B would cost as
// much as multiplying. It reads B in place. A product with as few columns and A stored transposed is one as well, seen from
// the other side: Cᵀ = Bᵀ·A. Gradients of the factors of adapters are of both kinds. The chains are those of all products.
type thinTask struct {
	f       *funcs
	k       int
	x       []float32 // the operand of few rows: its element i,k is x[i*xRow+k*xCol]
	rows    int
	xRow    int
	xCol    int
	b       []float32 // [k,cols], rows ldb apart
	cols    int
	ldb     int
	c       []float32 // element i,j of the result is c[i*cRow+j*cCol]
	cRow    int
	cCol    int
	add     bool
	bias    []float32 // [cols], or nil
	blockK  int       // steps of K after which the next panel is taken
	atATime int       // panels that fit the scratch
}

// thinBlock is how many bytes of B are gone through, panel by panel, before the next rows: they stay in the second-level cache.
const thinBlock = 128 << 10

// thin computes the product where it is thin and says whether it did.
func (j *job) thin(p *parallel.Pool) bool {
	a, f := j.args, j.f
	t := &j.thinTask
	switch {
	case a.TransB || a.Alpha != 0 && a.Alpha != 1:
		return false
	case a.M <= f.mr && a.N >= f.nr:
		*t = thinTask{x: a.A, rows: a.M, xRow: a.LDA, xCol: 1, b: a.B, cols: a.N, ldb: a.LDB, c: a.C, cRow: a.LDC, cCol: 1, bias: a.Bias}
		if a.TransA {
			t.xRow, t.xCol = 1, a.LDA
		}
	case a.N <= f.mr && a.M >= f.nr && a.TransA && a.Bias == nil:
		*t = thinTask{x: a.B, rows: a.N, xRow: 1, xCol: a.LDB, b: a.A, cols: a.M, ldb: a.LDA, c: a.C, cRow: 1, cCol: a.LDC}
	default:
		return false
	}
	t.f, t.k, t.add = f, a.K, a.Accumulate
	t.blockK = min(max(thinBlock/(4*t.ldb), 16), t.k)
	t.atATime = max(1, blockKTrans*stripFloats/(t.rows*f.nr))
	p.Run((t.cols+f.nr-1)/f.nr, 2, t)
	return true
}

// Do computes panels lo to hi. Their chains are in the scratch meanwhile, [rows, panels·NR].
func (t *thinTask) Do(lo, hi int) {
	s := scratches.Get()
	defer scratches.Put(s)
	for ; lo < hi; lo += t.atATime {
		last := min(lo+t.atATime, hi)
		t.begin(s, lo, last)
		width := (last - lo) * t.f.nr
		s.t.bks, s.t.srs, s.t.crs, s.t.ars, s.t.aks = 4*t.ldb, 4*width, 4*width, 4*t.xRow, 4*t.xCol
		for k := 0; k < t.k; k += t.blockK {
			s.t.k = min(t.blockK, t.k-k)
			for p := lo; p < last; p++ {
				s.t.b = elem(t.b, k*t.ldb+t.first(p))
				for row := 0; row < t.rows; {
					r := rowsAtOnce(&t.f.full, t.rows-row)
					s.t.a = elem(t.x, row*t.xRow+k*t.xCol)
					s.t.c = elem(s.strips, row*width+(p-lo)*t.f.nr)
					s.t.src = s.t.c
					t.f.full[r](&s.t)
					row += r
				}
			}
		}
		t.end(s, lo, last)
	}
}

// first is the first column that a panel reads. The last panel ends with the last column, and may repeat some.
func (t *thinTask) first(p int) int { return min(p*t.f.nr, t.cols-t.f.nr) }

// begin sets the starts of the chains.
func (t *thinTask) begin(s *scratch, lo, hi int) {
	nr, width := t.f.nr, (hi-lo)*t.f.nr
	if !t.add && t.bias == nil {
		clear(s.strips[:t.rows*width])
		return
	}
	for p := lo; p < hi; p++ {
		for i := range t.rows {
			dst := s.strips[i*width+(p-lo)*nr:][:nr]
			skip := p*nr - t.first(p)
			clear(dst[:skip]) // columns of the panel before, which another thread may be writing
			for q := skip; q < nr; q++ {
				if col := t.first(p) + q; t.add {
					dst[q] = t.c[i*t.cRow+col*t.cCol]
				} else {
					dst[q] = t.bias[col]
				}
			}
		}
	}
}

// end stores the ends of the chains.
func (t *thinTask) end(s *scratch, lo, hi int) {
	nr, width := t.f.nr, (hi-lo)*t.f.nr
	for p := lo; p < hi; p++ {
		first := t.first(p)
		skip := p*nr - first
		for i := range t.rows {
			src := s.strips[i*width+(p-lo)*nr:][:nr]
			if t.cCol == 1 {
				copy(t.c[i*t.cRow+first+skip:], src[skip:])
				continue
			}
			for q := skip; q < nr; q++ {
				t.c[i*t.cRow+(first+q)*t.cCol] = src[q]
			}
		}
	}
}
