package backend

import (
	"fmt"
	"math"
)

// MuonMatrix is a matrix [M,N] of flat tensors.
type MuonMatrix struct {
	Offset, M, N int     // it begins at element Offset
	LRScale      float32 // factor of the learning rate, e.g. √max(1, M/N)
}

// MuonPlan is a list of matrices that one call of Muon updates, with the places of their intermediate results.
type MuonPlan struct {
	matrices     []MuonMatrix
	table        []int32
	wide         int // matrices that are not tall; they come first
	square, tile int // tiles of all lower triangles of Gram matrices, and of all matrices
	x, gram      int // elements of all matrices, and of all Gram matrices
}

// Columns of a plan's table, as the kernels read them; see kernels/cuda/muon.cuh.
const (
	MuonColumns = 8
	// MuonTile is how many rows and columns the tiles have that the table counts.
	MuonTile = 64
)

// PlanMuon makes the plan of some matrices. Errors: *ArgError for a matrix without elements, and where the numbers of elements
// do not fit 31 bits.
func PlanMuon(matrices ...MuonMatrix) (*MuonPlan, error) {
	p := &MuonPlan{matrices: make([]MuonMatrix, 0, len(matrices))}
	for _, m := range matrices {
		if m.M <= m.N {
			p.matrices = append(p.matrices, m)
		}
	}
	p.wide = len(p.matrices)
	for _, m := range matrices {
		if m.M > m.N {
			p.matrices = append(p.matrices, m)
		}
	}
	for _, m := range p.matrices {
		if m.Offset < 0 || m.M < 1 || m.N < 1 {
			return nil, &ArgError{Op: "Muon", Arg: "matrix", Got: m, Want: "an offset of 0 or more and at least one row and column"}
		}
		p.table = append(p.table, int32(m.Offset), int32(m.M), int32(m.N), int32(p.x), int32(p.gram),
			int32(math.Float32bits(m.LRScale)), int32(p.square), int32(p.tile))
		side, across := min(m.M, m.N), (m.N+MuonTile-1)/MuonTile
		down, sides := (m.M+MuonTile-1)/MuonTile, (side+MuonTile-1)/MuonTile
		p.x, p.gram = p.x+muonAlign(m.M*m.N), p.gram+muonAlign(side*side)
		p.square, p.tile = p.square+sides*(sides+1)/2, p.tile+down*across
		if end := int64(m.Offset) + int64(m.M)*int64(m.N); end > math.MaxInt32 || int64(p.x) > math.MaxInt32 || int64(p.gram) > math.MaxInt32 {
			return nil, &ArgError{Op: "Muon", Arg: "matrix", Got: m, Want: fmt.Sprintf("matrices of %d elements in all at most", math.MaxInt32)}
		}
	}
	return p, nil
}

// muonAlign keeps every matrix on a boundary that kernels load from at full width.
func muonAlign(n int) int { return (n + 63) / 64 * 64 }

// Matrices are those of the plan, in the order of its table.
func (p *MuonPlan) Matrices() []MuonMatrix { return p.matrices }

// Table is what the table tensor of Muon holds.
func (p *MuonPlan) Table() []int32 { return p.table }

// Wide is how many matrices are not tall. They come first.
func (p *MuonPlan) Wide() int { return p.wide }

// Elements and GramElements are how many elements a copy of all matrices takes in the scratch, and one of their Gram matrices.
func (p *MuonPlan) Elements() int     { return p.x }
func (p *MuonPlan) GramElements() int { return p.gram }

// Work is the number of float32 elements of scratch: two copies of the matrices and two of their smaller Gram matrices.
func (p *MuonPlan) Work() int { return 2*p.x + 2*p.gram }

// Tiles is the number of tiles of all matrices.
func (p *MuonPlan) Tiles() int { return p.tile }

// SquareTiles is the number of tiles of the lower triangles of the Gram matrices from matrix first to the one before last.
func (p *MuonPlan) SquareTiles(first, last int) int {
	const column = 6
	before := func(i int) int {
		if i == len(p.matrices) {
			return p.square
		}
		return int(p.table[i*MuonColumns+column])
	}
	return before(last) - before(first)
}
