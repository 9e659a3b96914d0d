package qgemm

import (
	"fmt"
	"unsafe"

	"mito/kernels/sentinel"
)

const (
	blockRows  = 32 // weight rows in a packed block
	groupCols  = 4  // columns that one 32-bit lane consumes
	groupBytes = blockRows * groupCols
	lineBytes  = 64 // packed weights begin on a cache line

	// MaxK is the largest K for which 128·127·K, the largest sum of the offset form, fits an int32.
	MaxK = 1 << 17
)

// ErrMinus128 is returned for weights that hold -128.
var ErrMinus128 = sentinel.ErrMinus128

// ErrShape is wrapped by errors about sizes.
var ErrShape = sentinel.ErrShape

// Packed is an INT8 weight matrix [N,K] in the layout of the kernels. It is immutable and safe for concurrent use.
type Packed struct {
	n, k int
	w    []int8  // [N/32][K/4][32][4], zero padded
	corr []int32 // [N rounded up to 32], -128·Σ_k w[n,k] over the whole groups of 4 columns
}

// Pack copies the row-major matrix w [N,K] into the packed layout. It returns ErrMinus128 when a weight is -128 and
// wraps ErrShape when the sizes do not fit.
func Pack(w []int8, n, k int) (*Packed, error) {
	if n < 1 || k < 1 || k > MaxK {
		return nil, fmt.Errorf("qgemm: %w: [%d,%d], want N ≥ 1 and 1 ≤ K ≤ %d", ErrShape, n, k, MaxK)
	}
	if len(w) != n*k {
		return nil, fmt.Errorf("qgemm: %w: %d weights for [%d,%d]", ErrShape, len(w), n, k)
	}
	p := &Packed{n: n, k: k}
	np, groups := p.PaddedN(), p.groups()
	p.w = aligned(np * groups * groupCols)
	p.corr = make([]int32, np)
	whole := k / groupCols * groupCols
	for r := range n {
		row := w[r*k:][:k]
		var sum int32
		for c, v := range row {
			if v == -128 {
				return nil, fmt.Errorf("qgemm: %w at [%d,%d]", ErrMinus128, r, c)
			}
			p.w[p.index(r, c)] = v
			if c < whole {
				sum += int32(v)
			}
		}
		p.corr[r] = -128 * sum
	}
	return p, nil
}

// N returns the number of weight rows.
func (p *Packed) N() int { return p.n }

// K returns the number of weight columns.
func (p *Packed) K() int { return p.k }

// PaddedN returns N rounded up to whole blocks of 32 rows.
func (p *Packed) PaddedN() int { return (p.n + blockRows - 1) / blockRows * blockRows }

// Bytes returns the memory that the packed weights occupy.
func (p *Packed) Bytes() int { return len(p.w) + 4*len(p.corr) }

// Row unpacks weight row r into dst [K].
func (p *Packed) Row(dst []int8, r int) {
	dst = dst[:p.k]
	base := p.index(r, 0)
	w, c := p.w[base:], 0
	for ; c+groupCols <= len(dst); c += groupCols {
		*(*[groupCols]int8)(dst[c:]) = *(*[groupCols]int8)(w[c*blockRows:])
	}
	copy(dst[c:], w[min(c*blockRows, len(w)):])
}

func (p *Packed) groups() int { return (p.k + groupCols - 1) / groupCols }

func (p *Packed) index(r, c int) int {
	return ((r/blockRows*p.groups()+c/groupCols)*blockRows+r%blockRows)*groupCols + c%groupCols
}

// aligned returns n zeroed int8 that begin on a cache line. The allocation has no pointers and does not move.
func aligned(n int) []int8 {
	b := make([]int8, n+lineBytes)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (lineBytes - 1)
	return b[off : off+n : off+n]
}
