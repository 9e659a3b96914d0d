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
// has steps[2·s] steps of eight blocks and steps[2·s+1] of four; its eight block rows go to acc[2·places[8·s+i]:]. slices is positive.
//
//go:noescape
func mulNEON1(acc *int32, w *int8, index *uint16, steps, places *int32, x *int8, slices, add int)

// mulSDOT1 is mulNEON1 for processors with dot products.
//
//go:noescape
func mulSDOT1(acc *int32, w *int8, index *uint16, steps, places *int32, x *int8, slices, add int)

func mulNEON(t *tile, acc []int32, x []int8, from, to, add int) {
	run(mulNEON1, t, acc, x, from, to, add)
}

func mulSDOT(t *tile, acc []int32, x []int8, from, to, add int) {
	run(mulSDOT1, t, acc, x, from, to, add)
}

type kernel = func(acc *int32, w *int8, index *uint16, steps, places *int32, x *int8, slices, add int)

func run(f kernel, t *tile, acc []int32, x []int8, from, to, add int) {
	if len(t.w) == 0 {
		if add == 0 {
			clear(acc[from*outRows : to*outRows]) // nothing to sort: rows are in order
		}
		return
	}
	_ = acc[len(t.rows)*BlockRows-1]
	at := min(int(t.starts[from])*quadRows, len(t.index)-1) // slices without blocks may begin at the end
	f(&acc[0], &t.w[at*blockBytes], &t.index[at], &t.steps[2*from], &t.places[from*sliceRows], &x[0], to-from, add)
}
