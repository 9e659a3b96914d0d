// Package qgemm multiplies INT8 activations by INT8 weights that were packed once, with exact INT32 sums.
//
// Letters: N weight rows (outputs), K weight columns (inputs), M activation rows.
//
//	acc[m,n] = Σ_k w[n,k]·x[m,k]
//
// Weights lie in [-127,127]: -128 is refused when packing, because the AVX2 kernels multiply |x| by ±w in INT8, where
// -(-128) does not exist, and VPMADDUBSW saturates. Activations lie in [-127,127] too. Sums stay exact while
// K ≤ MaxK, so every order of summation, and with it every variant, number of threads and batch gives the same bits.
//
// # Layout
//
// Rows are padded to a multiple of 32 and columns to a multiple of 4 with zeros and stored as [N/32][K/4][32][4]: the
// four columns that one lane of VPMADDUBSW, VPDPBUSD or SDOT consumes are neighbours, and a block of 32 rows is one
// stream. The variant that sums with unsigned activations offsets them by 128; the packed matrix carries the correction
// -128·Σ_k w[n,k] for that.
package qgemm
