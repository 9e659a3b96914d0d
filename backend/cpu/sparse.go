package cpu

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/kernels/sparse"
)

// QSparseLinear implements backend.Sparse. Like QLinear it packs the weight at every call, from a matrix with the zeros
// stored; the product skips them.
func (b *Backend) QSparseLinear(y, xq, xscale *tensor.Dense, w backend.BlockSparse, wscale, bias *tensor.Dense) error {
	const op = "QSparseLinear"
	n, err := check.QSparseLinear(b, y, xq, xscale, w, wscale, bias)
	if err == nil {
		err = checkBlocks(op, i32(w.Columns), i32(w.RowPtr), w.K/8)
	}
	if err != nil {
		return err
	}
	if cap(b.dense) < w.M*w.K {
		b.dense = make([]int8, w.M*w.K)
	}
	dense := b.dense[:w.M*w.K]
	storeBlocks(dense, i8(w.Values), i32(w.Columns), i32(w.RowPtr), w.K)
	packed, err := sparse.Pack(dense, w.M, w.K)
	if err != nil {
		return packError(op, "w.Values", err)
	}
	b.integerLinear(packed, f32(y), i8(xq), f32(xscale), f32(wscale), f32(bias), n, w.M, w.K)
	return nil
}

// checkBlocks refuses indices that are not those of a matrix with the given number of block columns.
func checkBlocks(op string, columns, rowPtr []int32, width int) error {
	last := len(rowPtr) - 1
	if rowPtr[0] != 0 || int(rowPtr[last]) != len(columns) {
		return &backend.ArgError{Op: op, Arg: "w.RowPtr", Got: [2]int32{rowPtr[0], rowPtr[last]}, Want: "0 to the number of blocks"}
	}
	for r := range last {
		lo, hi := rowPtr[r], rowPtr[r+1]
		if lo > hi || int(hi) > len(columns) {
			return &backend.ArgError{Op: op, Arg: "w.RowPtr", Got: [2]int32{lo, hi}, Want: "an ascending range of blocks"}
		}
		for i := lo; i < hi; i++ {
			if c := columns[i]; c < 0 || int(c) >= width || i > lo && c <= columns[i-1] {
				return &backend.ArgError{Op: op, Arg: "w.Columns", Got: [2]int32{i, c}, Want: "ascending block columns of the matrix (index, column)"}
			}
		}
	}
	return nil
}

// storeBlocks writes 4×8 blocks into a row-major matrix of k columns.
func storeBlocks(dense, values []int8, columns, rowPtr []int32, k int) {
	clear(dense)
	for br := range len(rowPtr) - 1 {
		for i := int(rowPtr[br]); i < int(rowPtr[br+1]); i++ {
			block := values[i*32:][:32]
			for r := range 4 {
				copy(dense[(br*4+r)*k+int(columns[i])*8:], block[r*8:][:8])
			}
		}
	}
}
