//go:build !purego

package kv

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] {
	with := func(scores func([]int32, []int8, []float32, []int8, float32, int)) funcs {
		f := generic
		f.scores, f.weights, f.weigh = scores, weightsQS8NEON, weighQS8NEON
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

// unitsNEON makes y[i] = int(float32(y[i])·float32(ks[i]·c)), beyond where that is not below 2^29, of 16·blocks sums; blocks is
// positive.
//
//go:noescape
func unitsNEON(y *int32, ks *float32, blocks int, c float32)

// weightsNEON sets 8·n weights and returns the sum of their powers, which stays below 2^32; n is positive.
//
//go:noescape
func weightsNEON(w *int16, y *int32, vs *float32, n int, best int32, unit float32) uint32

func scoresQS8NEON(dst []int32, k []int8, ks []float32, q []int8, c float32, blocks int) {
	dst, k, ks = dst[:blocks*blockPos], k[:blocks*blockPos*len(q)], ks[:blocks*blockPos]
	keysNEON(&dst[0], &k[0], &q[0], len(q)/groupDims, blocks)
	unitsNEON(&dst[0], &ks[0], blocks, c)
}

func scoresQS8SDOT(dst []int32, k []int8, ks []float32, q []int8, c float32, blocks int) {
	dst, k, ks = dst[:blocks*blockPos], k[:blocks*blockPos*len(q)], ks[:blocks*blockPos]
	keysSDOT(&dst[0], &k[0], &q[0], len(q)/groupDims, blocks)
	unitsNEON(&dst[0], &ks[0], blocks, c)
}

func weightsQS8NEON(w []int16, y []int32, best int32, vs []float32, unit float32) (sum int64) {
	const most = maxWhole // positions whose powers a sum of 32 bits holds
	for ; len(w) > most; w, y, vs = w[most:], y[most:], vs[most:] {
		sum += int64(weightsNEON(&w[0], &y[0], &vs[0], most/8, best, unit))
	}
	n := len(w) / 8
	if n > 0 {
		_, _ = y[8*n-1], vs[8*n-1]
		sum += int64(weightsNEON(&w[0], &y[0], &vs[0], n, best, unit))
	}
	return sum + weightsQS8Generic(w[8*n:], y[8*n:], best, vs[8*n:], unit)
}

func weighQS8NEON(acc []int32, w []int16, v []int8, blocks int) {
	w, v = w[:blocks*blockPos], v[:blocks*blockPos*len(acc)]
	valuesNEON(&acc[0], &w[0], &v[0], blocks*blockPos/2, 2*len(acc), len(acc)/16)
}
