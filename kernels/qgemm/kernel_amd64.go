//go:build !purego

package qgemm

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] {
	return []isa.Impl[funcs]{
		{Name: isa.AVX2, Funcs: funcs{mulAVX2, mulUnsignedAVX2}},
		{Name: isa.AVXVNNI, Funcs: funcs{mulAVXVNNI, mulAVXVNNI}},
		{Name: isa.AVX512VNNI, Funcs: funcs{mulAVX512VNNI, mulAVX512VNNI}},
	}
}

func mulAVX2(acc []int32, ldacc int, w []int8, corr []int32, x []int8, ldx, rows, blocks, k4, step int) {
	if k4 == 0 {
		zero(acc, ldacc, rows, blocks)
		return
	}
	skip, m := (step-k4)*groupBytes, 0
	for ; m+2 <= rows; m += 2 {
		mul2AVX2(&acc[m*ldacc], ldacc, &w[0], &corr[0], &x[m*ldx], ldx, blocks, k4, skip)
	}
	if m < rows {
		mul1AVX2(&acc[m*ldacc], ldacc, &w[0], &corr[0], &x[m*ldx], ldx, blocks, k4, skip)
	}
}

func mulUnsignedAVX2(acc []int32, ldacc int, w []int8, corr []int32, x []int8, ldx, rows, blocks, k4, step int) {
	if k4 == 0 {
		zero(acc, ldacc, rows, blocks)
		return
	}
	skip, m := (step-k4)*groupBytes, 0
	for ; m+2 <= rows; m += 2 {
		mul2UnsignedAVX2(&acc[m*ldacc], ldacc, &w[0], &corr[0], &x[m*ldx], ldx, blocks, k4, skip)
	}
	if m < rows {
		mul1UnsignedAVX2(&acc[m*ldacc], ldacc, &w[0], &corr[0], &x[m*ldx], ldx, blocks, k4, skip)
	}
}

func mulAVXVNNI(acc []int32, ldacc int, w []int8, corr []int32, x []int8, ldx, rows, blocks, k4, step int) {
	if k4 == 0 {
		zero(acc, ldacc, rows, blocks)
		return
	}
	skip, m := (step-k4)*groupBytes, 0
	for ; m+2 <= rows; m += 2 {
		mul2AVXVNNI(&acc[m*ldacc], ldacc, &w[0], &corr[0], &x[m*ldx], ldx, blocks, k4, skip)
	}
	if m < rows {
		mul1AVXVNNI(&acc[m*ldacc], ldacc, &w[0], &corr[0], &x[m*ldx], ldx, blocks, k4, skip)
	}
}

func mulAVX512VNNI(acc []int32, ldacc int, w []int8, corr []int32, x []int8, ldx, rows, blocks, k4, step int) {
	if k4 == 0 {
		zero(acc, ldacc, rows, blocks)
		return
	}
	skip, m := (step-k4)*groupBytes, 0
	for ; m+4 <= rows; m += 4 {
		mul4AVX512VNNI(&acc[m*ldacc], ldacc, &w[0], &corr[0], &x[m*ldx], ldx, blocks, k4, skip)
	}
	for ; m < rows; m++ {
		mul1AVX512VNNI(&acc[m*ldacc], ldacc, &w[0], &corr[0], &x[m*ldx], ldx, blocks, k4, skip)
	}
}
