package checkpoint

import (
	"math"

	"mito/engine/files"
)

// SparsityConfig is the sparsity_config of a quantization_config: how matrices are stored whose zeros are left out.
type SparsityConfig struct {
	Format         string   `json:"format"`
	Structure      string   `json:"sparsity_structure"`
	GlobalSparsity float64  `json:"global_sparsity"` // share of zero weights in the targets
	Targets        []string `json:"targets"`         // modules stored so
	Ignore         []string `json:"ignore"`
}

// The format of matrices in blocks, which is mito's own. Of a matrix [N,K] only the blocks of 4 rows and 8 columns are stored
// that hold something:
//
//	<module>.weight_blocks  I8 [B,4,8]         in rows of blocks, each from left to right; zero beyond the edges of the matrix
//	<module>.weight_index   U8 [⌈N/4⌉+B]       for each row of blocks how many are stored, then for each block its column of blocks;
//	                                           I32 where K > 2040
//	<module>.weight_scale   F32 [N,1]
const (
	blockFormat    = "mito-block-4x8"
	blockStructure = "4x8"
	blockRows      = 4
	blockCols      = 8
)

// NewBlocks describes matrices in blocks.
func NewBlocks(sparsity float64, targets []string) *SparsityConfig {
	return &SparsityConfig{Format: blockFormat, Structure: blockStructure, GlobalSparsity: sparsity, Targets: targets, Ignore: []string{}}
}

// NewDense describes matrices that hold their zeros: what other programs read.
func NewDense(sparsity float64) *SparsityConfig {
	return &SparsityConfig{Format: "dense", Structure: "unstructured", GlobalSparsity: sparsity, Targets: []string{"Linear"}, Ignore: []string{}}
}

// InBlocks says that some matrices are stored in blocks.
func (q *Quantization) InBlocks() bool { return q.Sparsity != nil && q.Sparsity.Format == blockFormat }

// check takes what other programs write for matrices that are stored whole: no format, or "dense".
func (s *SparsityConfig) check(r *files.Ranges) {
	r.OneOf("sparsity_config.format", s.Format, "", "dense", blockFormat)
	if s.Format == blockFormat {
		r.OneOf("sparsity_config.sparsity_structure", s.Structure, blockStructure)
		r.Float("sparsity_config.global_sparsity", s.GlobalSparsity, 0, 1)
	}
}

func blockGrid(rows, cols int) (int, int) {
	return (rows + blockRows - 1) / blockRows, (cols + blockCols - 1) / blockCols
}

func indexType(cols int) DType {
	if _, across := blockGrid(1, cols); across > math.MaxUint8 {
		return I32
	}
	return U8
}

// BlockBytes is the size of a matrix [rows,cols] of which some blocks are stored, without its scales.
func BlockBytes(rows, cols, stored int) int {
	down, _ := blockGrid(rows, cols)
	return stored*blockRows*blockCols + (down+stored)*indexType(cols).Size()
}

// CountBlocks is the number of blocks of a matrix [rows,cols] that hold something.
func CountBlocks(rows, cols int, weights []int8) (n int) {
	eachBlock(rows, cols, weights, func(_, _ int, _ []int8) { n++ })
	return n
}

// eachBlock calls use for the blocks that hold something; the weights are those of a whole block and good for the call.
func eachBlock(rows, cols int, weights []int8, use func(row, col int, w []int8)) {
	down, across := blockGrid(rows, cols)
	var block [blockRows * blockCols]int8
	for r := range down {
		for c := range across {
			clear(block[:])
			used := false
			for i := r * blockRows; i < min(rows, (r+1)*blockRows); i++ {
				from, to := c*blockCols, min(cols, (c+1)*blockCols)
				for j, v := range weights[i*cols+from : i*cols+to] {
					block[i%blockRows*blockCols+j] = v
					used = used || v != 0
				}
			}
			if used {
				use(r, c, block[:])
			}
		}
	}
}

// BlockTensors returns a matrix in blocks, with its scales. Errors: as of QuantizedTensors.
func BlockTensors(module string, rows, cols int, weights []int8, scales []float32) ([]Tensor, error) {
	whole, err := QuantizedTensors(module, rows, cols, weights, scales)
	if err != nil {
		return nil, err
	}
	down, _ := blockGrid(rows, cols)
	index := make([]int32, down)
	var blocks []int8
	eachBlock(rows, cols, weights, func(r, c int, w []int8) {
		index[r]++
		index = append(index, int32(c))
		blocks = append(blocks, w...)
	})
	at := FromI32(module+".weight_index", []int{len(index)}, index)
	if indexType(cols) == U8 {
		small := make([]byte, len(index))
		for i, v := range index {
			small[i] = byte(v)
		}
		at = FromU8(module+".weight_index", []int{len(index)}, small)
	}
	return []Tensor{FromI8(module+".weight_blocks", []int{len(blocks) / (blockRows * blockCols), blockRows, blockCols}, blocks), at, whole[1]}, nil
}

// HasBlocks says that a matrix is stored in blocks.
func (f *File) HasBlocks(module string) bool { return f.Has(module + ".weight_blocks") }

// BlockNames are the tensors of a matrix in blocks.
func BlockNames(module string) []string {
	return []string{module + ".weight_blocks", module + ".weight_index", module + ".weight_scale"}
}

// Blocks is the inverse of [BlockTensors]: the whole matrix, zeros and all. The caller bounds its size. Errors: ErrMissing,
// ErrDType, ErrShape, ErrRange, ErrNotFinite.
func (f *File) Blocks(module string, rows, cols int) (weights []int8, scales []float32, err error) {
	index, err := f.blockIndex(module, rows, cols)
	if err != nil {
		return nil, nil, err
	}
	down, across := blockGrid(rows, cols)
	counts, columns := index[:down], index[down:]
	name := module + ".weight_blocks"
	t, err := f.Get(name, I8, len(columns), blockRows, blockCols)
	if err != nil {
		return nil, nil, err
	}
	stored, err := t.I8()
	if err != nil {
		return nil, nil, err
	}
	bad := func(format string, args ...any) error {
		return files.WithPath(formatError(ErrRange, module+".weight_index", format, args...), f.Path)
	}
	weights = make([]int8, rows*cols)
	at := 0
	for r, n := range counts {
		if n < 0 || int(n) > across || int(n) > len(columns)-at {
			return nil, nil, bad("row of blocks %d has %d of %d blocks, and %d are left", r, n, across, len(columns)-at)
		}
		last := int32(-1)
		for range n {
			c := columns[at]
			if c <= last || int(c) >= across {
				return nil, nil, bad("block %d is in column %d after %d, expected ascending columns below %d", at, c, last, across)
			}
			if i := place(weights, rows, cols, r, int(c), stored[at*blockRows*blockCols:][:blockRows*blockCols]); i >= 0 {
				return nil, nil, files.WithPath(formatError(ErrRange, name, "block %d holds a weight outside the matrix, element %d", at, i), f.Path)
			}
			last, at = c, at+1
		}
	}
	if at != len(columns) {
		return nil, nil, bad("its rows have %d blocks, %d are stored", at, len(columns))
	}
	s, err := f.Get(module+".weight_scale", F32, rows, 1)
	if err != nil {
		return nil, nil, err
	}
	if scales, err = s.F32(); err != nil {
		return nil, nil, err
	}
	if err := checkQuantized(module, cols, weights, scales); err != nil {
		return nil, nil, files.WithPath(err, f.Path)
	}
	return weights, scales, nil
}

// place puts a block where it belongs and returns the index of an element that has no place and is not zero, or -1.
func place(weights []int8, rows, cols, row, col int, block []int8) int {
	for i, v := range block {
		r, c := row*blockRows+i/blockCols, col*blockCols+i%blockCols
		if r < rows && c < cols {
			weights[r*cols+c] = v
		} else if v != 0 {
			return i
		}
	}
	return -1
}

// blockIndex reads the index of a matrix in blocks: a count for each row of blocks, then the columns.
func (f *File) blockIndex(module string, rows, cols int) ([]int32, error) {
	name := module + ".weight_index"
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	down, _ := blockGrid(rows, cols)
	if want := indexType(cols); t.DType != want {
		return nil, files.WithPath(formatError(ErrDType, name, "is %v, expected %v", t.DType, want), f.Path)
	}
	if len(t.Shape) != 1 || t.Shape[0] < down {
		return nil, files.WithPath(formatError(ErrShape, name, "is %v, expected at least one for each of %d rows of blocks", t.Shape, down), f.Path)
	}
	if t.DType == I32 {
		return t.I32()
	}
	small, err := t.U8()
	index := make([]int32, len(small))
	for i, v := range small {
		index[i] = int32(v)
	}
	return index, err
}
