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

func mulAVX2(t *tile, acc []int32, x []int8, from, to, add int) {
	mulQS8AVX2(t.first(acc), &t.at[from], &x[0], len(x), to-from, add)
}

func mulUnsignedAVX2(t *tile, acc []int32, x []int8, from, to, add int) {
	mulQU8AVX2(t.first(acc), &t.at[from], &x[0], len(x), to-from, add)
}

func mulAVXVNNI(t *tile, acc []int32, x []int8, from, to, add int) {
	mulQS8AVXVNNI(t.first(acc), &t.at[from], &x[0], len(x), to-from, add)
}

func mulAVX512VNNI(t *tile, acc []int32, x []int8, from, to, add int) {
	if len(x) > registerCols { // packed while another variant was chosen
		mulQS8AVX2(t.first(acc), &t.at[from], &x[0], len(x), to-from, add)
		return
	}
	mulQS8AVX512VNNI(t.first(acc), &t.at[from], &x[0], len(x), to-from, add)
}
