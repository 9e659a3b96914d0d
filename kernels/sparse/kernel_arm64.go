//go:build !purego

package sparse

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] {
	return []isa.Impl[funcs]{
		{Name: isa.NEON, Funcs: funcs{mulNEON, mulNEON}},
		{Name: isa.NEONSDOT, Funcs: funcs{mulSDOT, mulSDOT}},
	}
}

// mulNEON1 computes the sums of slices · 32 weight rows with one activation row, and adds them to acc if add is 1. Slice s
// has steps[2·s] steps of eight blocks and steps[2·s+1] of four; its eight block rows go to acc[2·places[8·s+i]:]. slices is positive. at points
// to w, index, steps and places of the first slice.
//
//go:noescape
func mulNEON1(acc *int32, at *[5]*byte, x *int8, slices, add int)

// mulSDOT1 is mulNEON1 for processors with dot products.
//
//go:noescape
func mulSDOT1(acc *int32, at *[5]*byte, x *int8, slices, add int)

func mulNEON(t *tile, acc []int32, x []int8, from, to, add int) {
	mulNEON1(t.first(acc), &t.at[from], &x[0], to-from, add)
}

func mulSDOT(t *tile, acc []int32, x []int8, from, to, add int) {
	mulSDOT1(t.first(acc), &t.at[from], &x[0], to-from, add)
}
