package c99

import "mito/engine/student"

// The blocks of a matrix, as kernels/sparse has them.
const (
	blockRows = 4
	blockCols = 8
	// widestBlocks is the largest number of columns whose blocks a byte can count.
	widestBlocks = 255 * blockCols
)

// inBlocks says that a matrix of a layer takes less flash in blocks.
func inBlocks(m *student.Matrix) bool {
	if m.Cols > widestBlocks {
		return false
	}
	rows, index := inBlocksOf(m)
	return len(rows)+pad(len(index), 4) < m.Rows*rowBytes(m.Cols)
}

// inBlocksOf lists the blocks of 4 rows and 8 columns that hold something, in rows of blocks from left to right, and their
// index: how many each row of blocks has, then the column of each.
func inBlocksOf(m *student.Matrix) (blocks []int8, index []uint8) {
	down := (m.Rows + blockRows - 1) / blockRows
	index = make([]uint8, down)
	for r := range down {
		for c := 0; c < m.Cols; c += blockCols {
			var block [blockRows * blockCols]int8
			used := false
			for i := r * blockRows; i < min(m.Rows, (r+1)*blockRows); i++ {
				for j := c; j < min(m.Cols, c+blockCols); j++ {
					v := m.Q[i*m.Cols+j]
					block[i%blockRows*blockCols+j%blockCols] = v
					used = used || v != 0
				}
			}
			if used {
				index[r]++
				index = append(index, uint8(c/blockCols))
				blocks = append(blocks, block[:]...)
			}
		}
	}
	return blocks, index
}
