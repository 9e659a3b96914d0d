package gemm

import (
	"unsafe"

	"mito/kernels/blocks"
)

func genericBlocks() *blockFuncs {
	f := &blockFuncs{nt: blocksNTGeneric, nn: blocksNNGeneric}
	for m := 1; m < len(f.tn); m++ {
		f.tn[m] = func(t *gradTile) { blocksTNGeneric(t, m) }
	}
	return f
}

func (t *blockTile) blocks() []int32 { return unsafe.Slice((*int32)(t.at), t.n) }

func blocksNTGeneric(t *blockTile) {
	for i := range blockRowsNT {
		for r := range blocks.Rows {
			s := *at(t.src, 4*r)
			for _, b := range t.blocks() {
				for j := int(b) * blocks.Cols; j < (int(b)+1)*blocks.Cols; j++ {
					s += float32(*at(t.w, r*t.ws+4*j) * *at(t.x, 4*(j*blockRowsNT+i)))
				}
			}
			*at(t.c, i*t.crs+4*r) = s
		}
	}
}

func blocksNNGeneric(t *blockTile) {
	for i := range blockRowsNN {
		for j := range blocks.Cols {
			s := *at(t.src, i*t.srs+4*j)
			for _, b := range t.blocks() {
				for r := int(b) * blocks.Rows; r < (int(b)+1)*blocks.Rows; r++ {
					s += float32(*at(t.x, i*t.xs+4*r) * *at(t.w, r*t.ws+4*j))
				}
			}
			*at(t.c, i*t.crs+4*j) = s
		}
	}
}

func blocksTNGeneric(t *gradTile, m int) {
	for b := range m {
		for r := range blocks.Rows {
			for j := range blocks.Cols {
				s := *at(t.src[b], r*t.srs+4*j)
				for i := range t.n {
					s += float32(*at(t.y, 4*(i*blocks.Cols+r)) * *at(t.x[b], 4*(i*blocks.Cols+j)))
				}
				*at(t.c[b], r*t.crs+4*j) = s
			}
		}
	}
}
