//go:build !purego

package gemm

import (
	"unsafe"

	"mito/kernels/isa"
)

func variants() []isa.Impl[funcs] {
	return []isa.Impl[funcs]{{Name: isa.AVX2, Funcs: avx2Funcs()}, {Name: isa.AVX512, Funcs: avx512Funcs()}}
}

func avx2Funcs() funcs {
	return funcs{
		mr: 6, nr: 16, strip: 8,
		full: [maxMR + 1]microKernel{
			1: gemmF32Kernel1x16AVX2, 2: gemmF32Kernel2x16AVX2, 3: gemmF32Kernel3x16AVX2,
			4: gemmF32Kernel4x16AVX2, 5: gemmF32Kernel5x16AVX2, 6: gemmF32Kernel6x16AVX2,
		},
		half: [maxMR + 1]microKernel{
			1: gemmF32Kernel1x8AVX2, 2: gemmF32Kernel2x8AVX2, 3: gemmF32Kernel3x8AVX2,
			4: gemmF32Kernel4x8AVX2, 5: gemmF32Kernel5x8AVX2, 6: gemmF32Kernel6x8AVX2,
		},
		small: [smallRows + 1][]smallKernel{
			1: {{2, gemmF32Kernel1x64AVX2}, {1, gemmF32Kernel1x32AVX2}},
			2: {{1, gemmF32Kernel2x32AVX2}},
			3: {{1, gemmF32Kernel3x32AVX2}},
		},
		packRows: packRowsAVX2, packCols: packCols8, packStrip: packStripAVX2,
		blocks: avx2Blocks(),
	}
}

func avx2Blocks() *blockFuncs {
	return &blockFuncs{
		nt: gemmF32BlocksNTAVX2, nn: gemmF32BlocksNNAVX2,
		tn: [4]func(*gradTile){1: gemmF32BlocksTN1AVX2, 2: gemmF32BlocksTN2AVX2, 3: gemmF32BlocksTN3AVX2},
	}
}

func avx512Funcs() funcs {
	return funcs{
		mr: 12, nr: 32, strip: 16,
		full: [maxMR + 1]microKernel{
			1: gemmF32Kernel1x32AVX512, 2: gemmF32Kernel2x32AVX512, 3: gemmF32Kernel3x32AVX512,
			4: gemmF32Kernel4x32AVX512, 5: gemmF32Kernel5x32AVX512, 6: gemmF32Kernel6x32AVX512,
			7: gemmF32Kernel7x32AVX512, 8: gemmF32Kernel8x32AVX512, 9: gemmF32Kernel9x32AVX512,
			10: gemmF32Kernel10x32AVX512, 11: gemmF32Kernel11x32AVX512, 12: gemmF32Kernel12x32AVX512,
		},
		half: [maxMR + 1]microKernel{
			1: gemmF32Kernel1x16AVX512, 2: gemmF32Kernel2x16AVX512, 3: gemmF32Kernel3x16AVX512,
			4: gemmF32Kernel4x16AVX512, 5: gemmF32Kernel5x16AVX512, 6: gemmF32Kernel6x16AVX512,
			7: gemmF32Kernel7x16AVX512, 8: gemmF32Kernel8x16AVX512, 9: gemmF32Kernel9x16AVX512,
			10: gemmF32Kernel10x16AVX512, 11: gemmF32Kernel11x16AVX512, 12: gemmF32Kernel12x16AVX512,
		},
		small: [smallRows + 1][]smallKernel{
			1: {{4, gemmF32Kernel1x128AVX512}, {3, gemmF32Kernel1x96AVX512}, {2, gemmF32Kernel1x64AVX512}},
			2: {{3, gemmF32Kernel2x96AVX512}, {2, gemmF32Kernel2x64AVX512}},
			3: {{3, gemmF32Kernel3x96AVX512}, {2, gemmF32Kernel3x64AVX512}},
			4: {{2, gemmF32Kernel4x64AVX512}},
			5: {{2, gemmF32Kernel5x64AVX512}},
			6: {{2, gemmF32Kernel6x64AVX512}},
		},
		packRows: packRowsAVX2, packCols: packCols8, packStrip: packStripAVX512,
		blocks: avx2Blocks(), // eight lanes: a block has eight columns
	}
}

// packCols8 transposes blocks of 8 x 8 and the rows that are left one by one.
func packCols8(dst, src *float32, rows, n, ld int) {
	whole := rows &^ 7
	for j := 0; j < n; j += 8 {
		d, s := unsafe.Pointer(at(unsafe.Pointer(dst), 4*j)), unsafe.Pointer(at(unsafe.Pointer(src), 4*j*ld))
		if whole > 0 {
			packColsAVX2((*float32)(d), (*float32)(s), whole/8, n, ld)
		}
		for k := whole; k < rows; k++ {
			for i := range 8 {
				*at(d, 4*(k*n+i)) = *at(s, 4*(i*ld+k))
			}
		}
	}
}
