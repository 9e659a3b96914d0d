package sparse

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"

	"mito/kernels/isa"
	"mito/kernels/sentinel"
)

// Sizes of the format.
const (
	BlockRows    = 4
	BlockCols    = 8
	blockBytes   = BlockRows * BlockCols
	quadRows     = 4            // blocks that are stored together
	sliceRows    = 2 * quadRows // block rows of a slice
	outRows      = sliceRows * BlockRows
	windowRows   = 4 * outRows // sorted together in matrices of several tiles
	lineBytes    = 64
	registerCols = 128 // activations that two 512-bit registers hold

	// MaxK keeps the largest sum of the offset form, 128·127·K, in an int32.
	MaxK = 1 << 17
)

// ErrMinus128 is returned for weights that hold -128.
var ErrMinus128 = sentinel.ErrMinus128

// ErrShape is wrapped by errors about sizes.
var ErrShape = sentinel.ErrShape

// Packed is an INT8 weight matrix [N,K] in blocks. It is immutable and safe for concurrent use.
type Packed struct {
	n, k   int
	padded int // n rounded up to whole slices
	window int // rows that one call of Mul computes together: outRows or windowRows, powers of two
	blocks int // that hold something
	tiles  []tile
}

// tile holds the blocks of the columns col ≤ k < end. The sums of the first tile begin at zero, those of the others are
// added. The AVX-512 kernel wants tiles of 128 columns; all others do better with one.
type tile struct {
	col, end int
	w        []int8   // [quad][rows 0 and 2, rows 1 and 3][4][2][8]
	index    []uint16 // [quad][4] column of the block in the tile, in blocks
	steps    []int32  // [slice][2] number of steps of two quads, and of one
	starts   []int32  // [slice] first quad
	places   []int32  // [slice][8] twice the block row: with a scale of 8 bytes, the place of its sums
	corr     []int32  // [slice][8][4] -128·Σ_k w[n,k]

	at [][5]*byte // [slice] where its w, index, steps, places and corr begin
}

// Pack stores the blocks of the row-major matrix w [N,K] that are not all zero. K need not be a multiple of 8, nor N of
// 4. It returns ErrMinus128 when a weight is -128 and wraps ErrShape when the sizes do not fit.
func Pack(w []int8, n, k int) (*Packed, error) {
	if n < 1 || k < 1 || k > MaxK {
		return nil, fmt.Errorf("sparse: %w: [%d,%d], want N ≥ 1 and 1 ≤ K ≤ %d", ErrShape, n, k, MaxK)
	}
	if len(w) != n*k {
		return nil, fmt.Errorf("sparse: %w: %d weights for [%d,%d]", ErrShape, len(w), n, k)
	}
	if i := slices.Index(w, -128); i >= 0 {
		return nil, fmt.Errorf("sparse: %w at [%d,%d]", ErrMinus128, i/k, i%k)
	}
	p := &Packed{n: n, k: k, padded: (n + outRows - 1) / outRows * outRows, window: outRows}
	width := k
	if Variant() == isa.AVX512VNNI {
		width = registerCols
	}
	if k > width {
		p.window = windowRows
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
	for r := range blockRows {
		t.places = append(t.places, 2*int32(r))
	}
	// A row is in a single slice of the only tile. With several, a row's slices must be in the same window.
	window := blockRows
	if p.window > outRows {
		window = p.window / BlockRows
	}
	for places := range slices.Chunk(t.places, window) {
		slices.SortStableFunc(places, func(a, b int32) int { return cmp.Compare(len(full[b/2]), len(full[a/2])) })
	}
	total := 0
	for s := 0; s < blockRows; s += sliceRows {
		most, both := len(full[t.places[s]/2]), len(full[t.places[s+quadRows]/2]) // the longest come first
		t.starts = append(t.starts, int32(total))
		t.steps = append(t.steps, int32(both), int32(most-both))
		total += most + both
	}
	t.w = aligned(total * quadRows * blockBytes)
	t.index = make([]uint16, total*quadRows)
	t.corr = make([]int32, blockRows*BlockRows)
	for i, at := range t.places {
		r := at / 2
		for j, c := range full[r] {
			at := t.slot(i, j)
			t.index[at] = c
			for b := range min(BlockRows, p.n-int(r)*BlockRows) {
				from, to := col+int(c)*BlockCols, min(end, col+int(c+1)*BlockCols)
				row := (int(r)*BlockRows + b) * p.k
				for e, v := range w[row+from : row+to] {
					t.w[place(at, b)+e] = v
					t.corr[i*BlockRows+b] -= 128 * int32(v)
				}
			}
		}
	}
	t.locate()
	return t
}

// locate sets at. A slice without blocks has no weights and may lie behind the last.
func (t *tile) locate() {
	t.at = make([][5]*byte, len(t.starts))
	for s, start := range t.starts {
		a := &t.at[s]
		if at := int(start) * quadRows; at < len(t.index) {
			a[0], a[1] = bytes(&t.w[at*blockBytes]), bytes(&t.index[at])
		}
		a[2], a[3], a[4] = bytes(&t.steps[2*s]), bytes(&t.places[s*sliceRows]), bytes(&t.corr[s*outRows])
	}
}

func bytes[T any](p *T) *byte { return (*byte)(unsafe.Pointer(p)) }

// first returns the beginning of acc, in which all block rows have a place.
func (t *tile) first(acc []int32) *int32 {
	_ = acc[len(t.places)*BlockRows-1]
	return &acc[0]
}

// Live counts the blocks of a row-major matrix w [n,k] that hold something, and all of them. It is 0 of 0 where the sizes do not fit.
func Live(w []int8, n, k int) (stored, all int) {
	if n < 1 || k < 1 || len(w) != n*k {
		return 0, 0
	}
	rows, cols := (n+BlockRows-1)/BlockRows, (k+BlockCols-1)/BlockCols
	for r := range rows {
		for c := range cols {
			if used(w, n, k, r, c) {
				stored++
			}
		}
	}
	return stored, rows * cols
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

// count returns the number of blocks that block row i, in the order of t.places, has with its filling.
func (t *tile) count(i int) int {
	both, one := t.steps[i/sliceRows*2], t.steps[i/sliceRows*2+1]
	if i%sliceRows >= quadRows {
		return int(both)
	}
	return int(both + one)
}

// slot returns the number of the slot of block j of block row i, in the order of t.rows.
func (t *tile) slot(i, j int) int {
	s := i / sliceRows
	at, both := int(t.starts[s])*quadRows+i%sliceRows, int(t.steps[2*s])
	return at + min(j, both)*sliceRows + max(0, j-both)*quadRows
}

// place returns where the eight weights of a row of the block in a slot lie.
func place(slot, row int) int {
	return slot/quadRows*quadRows*blockBytes + row%2*quadRows*blockBytes/2 + slot%quadRows*blockBytes/2 + row/2*BlockCols
}

// N returns the number of weight rows.
func (p *Packed) N() int { return p.n }

// K returns the number of weight columns.
func (p *Packed) K() int { return p.k }

// PaddedN returns N rounded up to whole slices of 32 rows.
func (p *Packed) PaddedN() int { return p.padded }

// Blocks returns the number of stored blocks that hold something, and the number that the matrix has.
func (p *Packed) Blocks() (stored, all int) {
	return p.blocks, (p.n + BlockRows - 1) / BlockRows * ((p.k + BlockCols - 1) / BlockCols)
}

// Bytes returns the memory that the packed weights occupy, filling included.
func (p *Packed) Bytes() int {
	n := 0
	for i := range p.tiles {
		t := &p.tiles[i]
		n += len(t.w) + 2*len(t.index) + int(unsafe.Sizeof(t.at[0]))*len(t.at) + 4*(len(t.steps)+len(t.starts)+len(t.places)+len(t.corr))
	}
	return n
}

// Row unpacks weight row r into dst [K].
func (p *Packed) Row(dst []int8, r int) {
	dst = dst[:p.k]
	clear(dst)
	for ti := range p.tiles {
		t := &p.tiles[ti]
		i := slices.Index(t.places, 2*int32(r/BlockRows))
		for j := range t.count(i) {
			at := t.slot(i, j)
			for b, v := range t.w[place(at, r%BlockRows):][:BlockCols] {
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
