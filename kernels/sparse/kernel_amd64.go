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

// prepare checks that the places of the slices lie in acc, and returns the first step of slice from, or -1 when no slice has any.
func (t *tile) prepare(acc []int32, from, to, add int) int {
	if len(t.w) == 0 {
		if add == 0 {
			clear(acc[from*outRows : to*outRows]) // nothing to sort: rows are in order
		}
		return -1
	}
	_ = acc[len(t.rows)*BlockRows-1]
	return min(int(t.starts[from])*quadRows, len(t.index)-1) // slices without blocks may begin at the end
}

func mulAVX2(t *tile, acc []int32, x []int8, from, to, add int) {
	if at := t.prepare(acc, from, to, add); at >= 0 {
		mulQS8AVX2(&acc[0], &t.w[at*blockBytes], &t.index[at], &t.steps[2*from], &t.places[from*sliceRows], &t.corr[from*outRows], &x[0], len(x), to-from, add)
	}
}

func mulUnsignedAVX2(t *tile, acc []int32, x []int8, from, to, add int) {
	if at := t.prepare(acc, from, to, add); at >= 0 {
		mulQU8AVX2(&acc[0], &t.w[at*blockBytes], &t.index[at], &t.steps[2*from], &t.places[from*sliceRows], &t.corr[from*outRows], &x[0], len(x), to-from, add)
	}
}

func mulAVXVNNI(t *tile, acc []int32, x []int8, from, to, add int) {
	if at := t.prepare(acc, from, to, add); at >= 0 {
		mulQS8AVXVNNI(&acc[0], &t.w[at*blockBytes], &t.index[at], &t.steps[2*from], &t.places[from*sliceRows], &t.corr[from*outRows], &x[0], len(x), to-from, add)
	}
}

func mulAVX512VNNI(t *tile, acc []int32, x []int8, from, to, add int) {
	if len(x) > registerCols { // packed while another variant was chosen
		mulAVX2(t, acc, x, from, to, add)
		return
	}
	if at := t.prepare(acc, from, to, add); at >= 0 {
		mulQS8AVX512VNNI(&acc[0], &t.w[at*blockBytes], &t.index[at], &t.steps[2*from], &t.places[from*sliceRows], &t.corr[from*outRows], &x[0], len(x), to-from, add)
	}
}
