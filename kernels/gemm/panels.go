package gemm

import "fmt"

// Panels is an operand B [K,N] packed for the variant that was chosen when it was packed. It serves those who multiply
// parts of one B by many small A, as attention does. The memory is kept from one Pack to the next. Products may run on
// several threads at once, each with a Scratch of its own.
type Panels struct {
	k, n int
	f    *funcs
	w    []float32 // panels [ceil(N/NR)][K][width], width NR, or NR/2 for a last one that needs no more
}

// Pack packs B: B[k,j] is b[k*ld+j], or b[j*ld+k] with trans. It panics when b is too short.
func (p *Panels) Pack(b []float32, ld int, trans bool, k, n int) {
	checkMatrix("B", b, k, n, ld, trans)
	p.k, p.n, p.f = k, n, dispatch.Funcs()
	nr := p.f.nr
	if need := k * roundUp(n, nr); len(p.w) < need {
		p.w = alignedFloats(need)
	}
	for j := 0; j < n && k > 0; j += nr {
		at := j
		if trans {
			at = j * ld
		}
		packPanel(p.f, p.w[j*k:], b[at:], ld, trans, k, min(nr, n-j))
	}
}

// Tile returns the rows and columns at which products are cut best.
func (p *Panels) Tile() (rows, cols int) { return p.f.mr, p.f.nr }

// Padded returns the columns that the panels hold: N rounded up to what the kernels write. Those beyond N are zero.
func (p *Panels) Padded() int {
	full := p.n / p.f.nr * p.f.nr
	if full == p.n {
		return full
	}
	return full + panelWidth(p.f, p.n-full)
}

// Strided is an operand A: A[i,k] is Data[i*Row+k*Col]. With Row and Col exchanged it is its transpose.
type Strided struct {
	Data     []float32
	Row, Col int
}

// Scratch is what one thread needs for products with Panels.
type Scratch struct{ s *scratch }

// NewScratch returns a Scratch. Keep it: it is made to be reused.
func NewScratch() *Scratch { return &Scratch{&scratch{}} }

// Mul computes C [m,n1-n0] = A [m,k1-k0] · B[k0:k1, n0:n1] with the chains of [Gemm], or C += A·B. C has leading
// dimension ldc. n0 is a multiple of the tile's columns, n1 at most Padded. It panics when an operand is too short.
func (p *Panels) Mul(s *Scratch, c []float32, ldc int, a Strided, m, k0, k1, n0, n1 int, accumulate bool) {
	nr := p.f.nr
	k, n := k1-k0, n1-n0
	if m <= 0 || n <= 0 {
		return
	}
	if k0 < 0 || k <= 0 || k1 > p.k || n0 < 0 || n0%nr != 0 || n1 > p.Padded() || a.Row < 0 || a.Col < 0 ||
		(m-1)*a.Row+(k-1)*a.Col >= len(a.Data) || ldc < n || (m-1)*ldc+n > len(c) {
		panic(fmt.Sprintf("gemm: C [%d,%d]%d of %d = A [%d,%d] of %d · B [%d:%d,%d:%d] of [%d,%d]",
			m, n, ldc, len(c), a.Row, a.Col, len(a.Data), k0, k1, n0, n1, p.k, p.n))
	}
	t := &s.s.t
	t.k, t.ars, t.aks = k, 4*a.Row, 4*a.Col
	for i := 0; i < m; {
		r := rowsAtOnce(&p.f.full, m-i)
		for j := n0; j < n1; j += nr {
			stored := panelWidth(p.f, min(nr, p.n-j))
			t.a = elem(a.Data, i*a.Row)
			t.b = elem(p.w, j*p.k+k0*stored)
			t.c, t.crs = elem(c, i*ldc+j-n0), 4*ldc
			t.src, t.srs = t.c, t.crs
			if !accumulate {
				t.src, t.srs = elem(zeros[:], 0), 0
			}
			s.s.panel(p.f, r, min(nr, n1-j), stored)
		}
		i += r
	}
	*t = tile{}
}

// panelWidth returns the columns that a panel of n columns is packed to.
func panelWidth(f *funcs, n int) int {
	if n <= f.nr/2 {
		return f.nr / 2
	}
	return f.nr
}

// packPanel packs n <= NR columns of k rows at src as a panel [k][width], zeros beyond n.
func packPanel(f *funcs, dst, src []float32, ld int, trans bool, k, n int) {
	width := panelWidth(f, n)
	dst = dst[:k*width]
	switch {
	case n == width && trans:
		f.packCols(&dst[0], &src[0], k, width, ld)
	case n == width:
		f.packRows(&dst[0], &src[0], k, width, ld)
	case trans:
		clear(dst)
		for j := range n {
			for i, v := range src[j*ld : j*ld+k] {
				dst[i*width+j] = v
			}
		}
	default:
		for i := range k {
			row := dst[i*width : (i+1)*width]
			copy(row, src[i*ld:i*ld+n])
			clear(row[n:])
		}
	}
}
