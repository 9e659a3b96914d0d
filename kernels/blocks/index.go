package blocks

// Sizes of a block, those of kernels/sparse.
const (
	Rows = 4
	Cols = 8
)

// Index lists the live blocks of a matrix [N,K] by block rows and by block columns, each ascending. It is immutable.
type Index struct {
	N, K int

	RowStart []int32 // [N/4+1] where the list of a block row begins in Columns
	Columns  []int32 // block columns
	ColStart []int32 // [K/8+1] where the list of a block column begins in RowsOf
	RowsOf   []int32 // block rows
}

// Of finds the blocks of a row-major mask or matrix [n,k] that hold something other than zero. It returns nil where 4 does not
// divide n or 8 does not divide k: such a matrix has no whole blocks.
func Of(m []float32, n, k int) *Index {
	if n <= 0 || k <= 0 || n%Rows != 0 || k%Cols != 0 || len(m) != n*k {
		return nil
	}
	x := &Index{N: n, K: k, RowStart: make([]int32, n/Rows+1), ColStart: make([]int32, k/Cols+1)}
	columns := make([][]int32, k/Cols)
	for r := range n / Rows {
		for c := range k / Cols {
			if live(m, k, r, c) {
				x.Columns = append(x.Columns, int32(c))
				columns[c] = append(columns[c], int32(r))
			}
		}
		x.RowStart[r+1] = int32(len(x.Columns))
	}
	for c, rows := range columns {
		x.RowsOf = append(x.RowsOf, rows...)
		x.ColStart[c+1] = int32(len(x.RowsOf))
	}
	return x
}

func live(m []float32, k, r, c int) bool {
	for i := range Rows {
		for _, v := range m[(r*Rows+i)*k+c*Cols:][:Cols] {
			if v != 0 {
				return true
			}
		}
	}
	return false
}

// InRow lists the block columns of block row r.
func (x *Index) InRow(r int) []int32 { return x.Columns[x.RowStart[r]:x.RowStart[r+1]] }

// InColumn lists the block rows of block column c.
func (x *Index) InColumn(c int) []int32 { return x.RowsOf[x.ColStart[c]:x.ColStart[c+1]] }

// Live is the share of the blocks that hold something.
func (x *Index) Live() float64 {
	return float64(len(x.Columns)) / float64(x.N/Rows*(x.K/Cols))
}
