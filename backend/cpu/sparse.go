package cpu

import (
	"gorgonia.org/tensor"

	"mito/backend"
)

// QSparseLinear implements backend.Sparse by storing the zeros and taking the dense path, which defines its bits.
func (b *Backend) QSparseLinear(y, xq, xscale *tensor.Dense, w backend.BlockSparse, wscale, bias *tensor.Dense) error {
	n, err := backend.CheckQSparseLinear(b, y, xq, xscale, w, wscale, bias)
	if err != nil {
		return err
	}
	dense, err := denseOf(i8(w.Values), i32(w.Columns), i32(w.RowPtr), w.M, w.K)
	if err != nil {
		return err
	}
	return b.qlinear(f32(y), i8(xq), f32(xscale), dense, f32(wscale), f32(bias), n, w.M, w.K)
}

// denseOf writes 4×8 blocks into a row-major matrix [m,k].
func denseOf(values []int8, columns, rowPtr []int32, m, k int) ([]int8, error) {
	dense := make([]int8, m*k)
	for br := range m / 4 {
		lo, hi := rowPtr[br], rowPtr[br+1]
		if lo < 0 || hi < lo || int(hi) > len(columns) {
			return nil, &backend.ArgError{Op: "QSparseLinear", Arg: "w.RowPtr", Got: [2]int32{lo, hi}, Want: "an ascending range of blocks"}
		}
		for i := lo; i < hi; i++ {
			if columns[i] < 0 || int(columns[i]) >= k/8 {
				return nil, &backend.ArgError{Op: "QSparseLinear", Arg: "w.Columns", Got: columns[i], Want: "a block column of the matrix"}
			}
			block := values[int(i)*32:][:32]
			for r := range 4 {
				copy(dense[(br*4+r)*k+int(columns[i])*8:], block[r*8:][:8])
			}
		}
	}
	return dense, nil
}
