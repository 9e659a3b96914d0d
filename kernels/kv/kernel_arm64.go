//go:build !purego

package kv

import (
	"unsafe"

	"mito/kernels/isa"
	"mito/kernels/vec"
)

func variants() []isa.Impl[funcs] {
	with := func(scores func([]float32, []int8, []float32, []int8, float32, int)) funcs {
		f := generic
		f.scores, f.weigh = scores, weighQS8NEON
		return f
	}
	return []isa.Impl[funcs]{
		{Name: isa.NEON, Funcs: with(scoresQS8NEON)},
		{Name: isa.NEONSDOT, Funcs: with(scoresQS8SDOT)},
	}
}

// keysNEON sets acc[i] = Σ_d k[i,d]·q[d] for 16·blocks positions; k [blocks][groups][16][4]. groups and blocks are positive.
//
//go:noescape
func keysNEON(acc *int32, k, q *int8, groups, blocks int)

// keysSDOT is keysNEON for processors with dot products.
//
//go:noescape
func keysSDOT(acc *int32, k, q *int8, groups, blocks int)

// valuesNEON adds Σ_i w[i]·v[i,d] to acc[d] for 2·pairs positions and 16·chunks dimensions; v [pairs][row/2][2]. pairs and
// chunks are positive.
//
//go:noescape
func valuesNEON(acc *int32, w *int16, v *int8, pairs, row, chunks int)

// asInt32 uses the memory of scores for the integers that they come from.
func asInt32(x []float32) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func scoresQS8NEON(dst []float32, k []int8, ks []float32, q []int8, c float32, blocks int) {
	dst, k, ks = dst[:blocks*blockPos], k[:blocks*blockPos*len(q)], ks[:blocks*blockPos]
	acc := asInt32(dst)
	keysNEON(&acc[0], &k[0], &q[0], len(q)/groupDims, blocks)
	vec.ScaleInt32(dst, acc, c, ks)
}

func scoresQS8SDOT(dst []float32, k []int8, ks []float32, q []int8, c float32, blocks int) {
	dst, k, ks = dst[:blocks*blockPos], k[:blocks*blockPos*len(q)], ks[:blocks*blockPos]
	acc := asInt32(dst)
	keysSDOT(&acc[0], &k[0], &q[0], len(q)/groupDims, blocks)
	vec.ScaleInt32(dst, acc, c, ks)
}

func weighQS8NEON(acc []int32, w []int16, v []int8, blocks int) {
	w, v = w[:blocks*blockPos], v[:blocks*blockPos*len(acc)]
	valuesNEON(&acc[0], &w[0], &v[0], blocks*blockPos/2, 2*len(acc), len(acc)/16)
}
