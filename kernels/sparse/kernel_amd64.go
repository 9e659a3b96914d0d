//go:build !purego

package sparse

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] {
	return []isa.Impl[funcs]{
		{Name: isa.AVX2, Funcs: funcs{mulAVX2, mulUnsignedAVX2}},
		{Name: isa.AVXVNNI, Funcs: funcs{mulAVXVNNI, mulAVXVNNI}},
		{Name: isa.AVX512VNNI, Funcs: funcs{mulAVX512VNNI, mulAVX512VNNI}},
	}
}

type kernel = func(acc *int32, w *int8, index *uint16, steps, places, corr *int32, x *int8, k, slices, add int)

func run(f kernel, t *tile, acc []int32, x []int8, from, to, add int) {
	if len(t.w) == 0 {
		if add == 0 {
			clear(acc[from*outRows : to*outRows]) // nothing to sort: rows are in order
		}
		return
	}
	_ = acc[len(t.rows)*BlockRows-1]
	at := min(int(t.starts[from])*sliceRows, len(t.index)-1) // slices without blocks may begin at the end
	f(&acc[0], &t.w[at*blockBytes], &t.index[at], &t.steps[from], &t.places[from*sliceRows], &t.corr[from*outRows], &x[0], len(x), to-from, add)
}

func mulAVX2(t *tile, acc []int32, x []int8, from, to, add int) {
	run(mulQS8AVX2, t, acc, x, from, to, add)
}

func mulUnsignedAVX2(t *tile, acc []int32, x []int8, from, to, add int) {
	run(mulQU8AVX2, t, acc, x, from, to, add)
}

func mulAVXVNNI(t *tile, acc []int32, x []int8, from, to, add int) {
	run(mulQS8AVXVNNI, t, acc, x, from, to, add)
}

func mulAVX512VNNI(t *tile, acc []int32, x []int8, from, to, add int) {
	if len(x) > registerCols { // packed while another variant was chosen
		run(mulQS8AVX2, t, acc, x, from, to, add)
		return
	}
	run(mulQS8AVX512VNNI, t, acc, x, from, to, add)
}
