//go:build !purego

package qgemm

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] {
	return []isa.Impl[funcs]{
		{Name: isa.NEON, Funcs: funcs{mulNEON, mulNEON}},
		{Name: isa.NEONSDOT, Funcs: funcs{mulSDOT, mulSDOT}},
	}
}

// mul1NEON computes acc[n] = Σ_k w[n,k]·x[k] for n < 32·blocks, k < 4·k4. A block of w is k4 groups [32][4] and skip
// further bytes. blocks and k4 are positive.
//
//go:noescape
func mul1NEON(acc *int32, w, x *int8, blocks, k4, skip int)

// mul1SDOT is mul1NEON for processors with dot products.
//
//go:noescape
func mul1SDOT(acc *int32, w, x *int8, blocks, k4, skip int)

func mulNEON(acc []int32, ldacc int, w []int8, _ []int32, x []int8, ldx, rows, blocks, k4, step int) {
	if k4 == 0 {
		zero(acc, ldacc, rows, blocks)
		return
	}
	for m := range rows {
		mul1NEON(&acc[m*ldacc], &w[0], &x[m*ldx], blocks, k4, (step-k4)*groupBytes)
	}
}

func mulSDOT(acc []int32, ldacc int, w []int8, _ []int32, x []int8, ldx, rows, blocks, k4, step int) {
	if k4 == 0 {
		zero(acc, ldacc, rows, blocks)
		return
	}
	for m := range rows {
		mul1SDOT(&acc[m*ldacc], &w[0], &x[m*ldx], blocks, k4, (step-k4)*groupBytes)
	}
}
