//go:build !purego

package gemm

import (
	"unsafe"

	"mito/kernels/isa"
)

func variants() []isa.Impl[funcs] { return []isa.Impl[funcs]{{Name: isa.NEON, Funcs: neonFuncs()}} }

func neonFuncs() funcs {
	return funcs{
		mr: 6, nr: 16, strip: 8,
		full: [maxMR + 1]microKernel{
			1: gemmF32Kernel1x16NEON, 2: gemmF32Kernel2x16NEON, 3: gemmF32Kernel3x16NEON,
			4: gemmF32Kernel4x16NEON, 5: gemmF32Kernel5x16NEON, 6: gemmF32Kernel6x16NEON,
		},
		half: [maxMR + 1]microKernel{
			1: gemmF32Kernel1x8NEON, 2: gemmF32Kernel2x8NEON, 3: gemmF32Kernel3x8NEON,
			4: gemmF32Kernel4x8NEON, 5: gemmF32Kernel5x8NEON, 6: gemmF32Kernel6x8NEON,
		},
		small: [smallRows + 1][]smallKernel{
			1: {{1, gemmF32Kernel1x32NEON}},
			2: {{1, gemmF32Kernel2x32NEON}},
			3: {{1, gemmF32Kernel3x32NEON}},
		},
		packRows: packRowsGeneric, packCols: packCols4, packStrip: packStripNEON,
	}
}

// packCols4 transposes blocks of 4 x 4 and the rows that are left one by one.
func packCols4(dst, src *float32, rows, n, ld int) {
	whole := rows &^ 3
	for j := 0; j < n; j += 4 {
		d, s := unsafe.Pointer(at(unsafe.Pointer(dst), 4*j)), unsafe.Pointer(at(unsafe.Pointer(src), 4*j*ld))
		if whole > 0 {
			packColsNEON((*float32)(d), (*float32)(s), whole/4, n, ld)
		}
		for k := whole; k < rows; k++ {
			for i := range 4 {
				*at(d, 4*(k*n+i)) = *at(s, 4*(i*ld+k))
			}
		}
	}
}

// packStripNEON is a copy: there is little to gain over it.
func packStripNEON(dst, src *float32, k, r, ld int) { packStrip(dst, src, k, r, ld, 8) }
