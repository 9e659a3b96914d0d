package sparse

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"mito/kernels/isa"
)

// Sizes of the format.
const (
	BlockRows    = 4
	BlockCols    = 8
	blockBytes   = BlockRows * BlockCols
	sliceRows    = 8 // block rows of a slice
	outRows      = sliceRows * BlockRows
	lineBytes    = 64
	registerCols = 128 // activations that two 512-bit registers hold

	// MaxK keeps the largest sum of the offset form, 128·127·K, in an int32.
	MaxK = 1 << 17
)

// ErrMinus128 is returned for weights that hold -128.
var ErrMinus128 = errors.New("sparse: weight -128")

// ErrShape is wrapped by errors about sizes.
var ErrShape = errors.New("sparse: bad shape")

// Packed is an INT8 weight matrix [N,K] in blocks. It is immutable and safe for concurrent use.
type Packed struct {
	n, k   int
	blocks int // that hold something
	tiles  []tile
}

// tile holds the blocks of the columns col ≤ k < end. The sums of the first tile begin at zero, those of the others are
// added. The AVX-512 kernel wants tiles of 128 columns; all others do better with one tile.
type tile struct {
	col, end int
	w        []int8   // [step][8][4][8]
	index    []uint16 // [step][8] column of the block in the tile, in blocks
	steps    []int32  // [slice] number of steps
	starts   []int32  // [slice] first step
	rows     []int32  // [slice][8] block row
	places   []int32  // [slice][8] twice the block row: with a scale of 8 bytes, the place of its sums
	corr     []int32  // [slice][8][4] -128·Σ_k w[n,k]
}

// Pack stores the blocks of the row-major matrix w [N,K] that are not all zero. K need not be a multiple of 8, nor N of
// 4. It returns ErrMinus128 when a weight is -128 and wraps ErrShape when the sizes do not fit.
func Pack(w []int8, n, k int) (*Packed, error) {
	if n < 1 || k < 1 || k > MaxK {
		return nil, fmt.Errorf("%w: [%d,%d], want N ≥ 1 and 1 ≤ K ≤ %d", ErrShape, n, k, MaxK)
	}
	if len(w) != n*k {
		return nil, fmt.Errorf("%w: %d weights for [%d,%d]", ErrShape, len(w), n, k)
	}
	if i := slices.Index(w, -128); i >= 0 {
		return nil, fmt.Errorf("%w at [%d,%d]", ErrMinus128, i/k, i%k)
	}
	p := &Packed{n: n, k: k}
	width := k
	if Variant() == isa.AVX512VNNI {
		width = registerCols
	}
	for col := 0; col < k; col += width {
		p.tiles = append(p.tiles, p.newTile(w, col, min(col+width, k)))
	}
	return p, nil
}

func (p *Packed) newTile(w []int8, col, end int) tile {
	t := tile{col: col, end: end}
	blockRows := p.PaddedN() / BlockRows
	full := make([][]uint16, blockRows)
	for r := range (p.n + BlockRows - 1) / BlockRows {
		for c := range (end - col + BlockCols - 1) / BlockCols {
			if used(w, p.n, p.k, r, col/BlockCols+c) {
				full[r] = append(full[r], uint16(c))
				p.blocks++
			}
		}
	}
	t.rows = make([]int32, blockRows)
	for i := range t.rows {
		t.rows[i] = int32(i)
	}
	slices.SortStableFunc(t.rows, func(a, b int32) int { return cmp.Compare(len(full[b]), len(full[a])) })

	for _, r := range t.rows {
		t.places = append(t.places, 2*r)
	}
	total := 0
	for s := 0; s < blockRows; s += sliceRows {
		steps := len(full[t.rows[s]]) // the longest comes first
		t.starts = append(t.starts, int32(total))
		t.steps = append(t.steps, int32(steps))
		total += steps
	}
	t.w = aligned(total * sliceRows * blockBytes)
	t.index = make([]uint16, total*sliceRows)
	t.corr = make([]int32, blockRows*BlockRows)
	for i, r := range t.rows {
		start := int(t.starts[i/sliceRows])
		for j, c := range full[r] {
			at := (start+j)*sliceRows + i%sliceRows
			t.index[at] = c
			fetch(t.w[at*blockBytes:][:blockBytes], w, p.n, p.k, int(r), col/BlockCols+int(c))
			for b, v := range t.w[at*blockBytes:][:blockBytes] {
				t.corr[i*BlockRows+b/BlockCols] -= 128 * int32(v)
			}
		}
	}
	return t
}

// used reports whether a block holds a weight that is not zero.
func used(w []int8, n, k, r, c int) bool {
	for i := r * BlockRows; i < min(n, (r+1)*BlockRows); i++ {
		for _, v := range w[i*k+c*BlockCols : i*k+min(k, (c+1)*BlockCols)] {
			if v != 0 {
				return true
			}
		}
	}
	return false
}

// fetch copies a block, with zeros beyond the matrix.
func fetch(dst, w []int8, n, k, r, c int) {
	for i := r * BlockRows; i < min(n, (r+1)*BlockRows); i++ {
		copy(dst[i%BlockRows*BlockCols:][:BlockCols], w[i*k+c*BlockCols:i*k+min(k, (c+1)*BlockCols)])
	}
}

// N returns the number of weight rows.
func (p *Packed) N() int { return p.n }

// K returns the number of weight columns.
func (p *Packed) K() int { return p.k }

// PaddedN returns N rounded up to whole slices of 32 rows.
func (p *Packed) PaddedN() int { return (p.n + outRows - 1) / outRows * outRows }

// Blocks returns the number of stored blocks that hold something, and the number that the matrix has.
func (p *Packed) Blocks() (stored, all int) {
	return p.blocks, (p.n + BlockRows - 1) / BlockRows * ((p.k + BlockCols - 1) / BlockCols)
}

// Bytes returns the memory that the packed weights occupy, filling included.
func (p *Packed) Bytes() int {
	n := 0
	for i := range p.tiles {
		t := &p.tiles[i]
		n += len(t.w) + 2*len(t.index) + 4*(len(t.steps)+len(t.starts)+len(t.rows)+len(t.places)+len(t.corr))
	}
	return n
}

// Row unpacks weight row r into dst [K].
func (p *Packed) Row(dst []int8, r int) {
	dst = dst[:p.k]
	clear(dst)
	for ti := range p.tiles {
		t := &p.tiles[ti]
		i := slices.Index(t.rows, int32(r/BlockRows))
		s := i / sliceRows
		for j := range int(t.steps[s]) {
			at := (int(t.starts[s])+j)*sliceRows + i%sliceRows
			for b, v := range t.w[at*blockBytes+r%BlockRows*BlockCols:][:BlockCols] {
				if v != 0 {
					dst[t.col+int(t.index[at])*BlockCols+b] = v
				}
			}
		}
	}
}

// aligned returns n zeroed int8 that begin on a cache line. The allocation has no pointers and does not move.
func aligned(n int) []int8 {
	b := make([]int8, n+lineBytes)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (lineBytes - 1)
	return b[off : off+n : off+n]
}
